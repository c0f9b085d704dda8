// The words, their vectors and what can be asked about them: search, neighbours, analogy, axis.

// The root of the sum of the squares of an array.
function norm(vector) {
  let sum = 0;
  for (let k = 0; k < vector.length; k += 1) sum += vector[k] * vector[k];
  return Math.sqrt(sum);
}

// The norms of int8 rows (V, D): (V,).
function rowNorms(rows, length, dim) {
  const norms = new Float64Array(length);
  for (let row = 0; row < length; row += 1) {
    let sum = 0;
    for (let k = row * dim; k < (row + 1) * dim; k += 1) sum = (sum + rows[k] * rows[k]) | 0;
    norms[row] = Math.sqrt(sum);
  }
  return norms;
}

// Products of int8 rows (V, D) with an integer query, Int32Array (D,): (V,). They are exact: below 2^31 for
// D up to 133,000. Two functions, because a loop over arrays of one type is several times as fast.
function integerProducts(rows, query) {
  const dim = query.length;
  const products = new Float64Array(rows.length / (dim || 1));
  for (let row = 0, start = 0; row < products.length; row += 1, start += dim) {
    let sum = 0;
    for (let k = 0; k < dim; k += 1) sum = (sum + rows[start + k] * query[k]) | 0;
    products[row] = sum;
  }
  return products;
}

// Products of int8 rows (V, D) with a query, Float64Array (D,): (V,).
function floatProducts(rows, query) {
  const dim = query.length;
  const products = new Float64Array(rows.length / (dim || 1));
  for (let row = 0, start = 0; row < products.length; row += 1, start += dim) {
    let sum = 0;
    for (let k = 0; k < dim; k += 1) sum += rows[start + k] * query[k];
    products[row] = sum;
  }
  return products;
}

class WordSpace {
  // `arrays` as stages/lib/page/space.py documents them: V words, D dimensions, C components, O weights.
  constructor(arrays) {
    this.words = strings(arrays, "words");
    this.labels = strings(arrays, "labels");
    this.clusters = strings(arrays, "clusters");
    this.facts = JSON.parse(strings(arrays, "facts")[0] ?? "{}");
    this.length = this.words.length; // V
    this.count = arrays.count.data; // (V,)
    this.cluster = arrays.cluster.data; // (V,)
    this.vectors = arrays.vectors.data; // (V, D)
    this.scale = arrays.scale.data; // (V,)
    this.coords = arrays.coords.data; // (V, C)
    this.coordsScale = arrays.coords_scale.data; // (C,)
    this.explained = arrays.explained.data; // (C,)
    this.weights = arrays.weights.data; // (V, O)
    this.weightsScale = arrays.weights_scale.data; // (O,)
    [, this.dim] = arrays.vectors.shape;
    [, this.components] = arrays.coords.shape;
    [, this.outputs] = arrays.weights.shape;
    this.check();
    this.norms = rowNorms(this.vectors, this.length, this.dim); // without `scale`
  }

  // Throws if the arrays do not describe the same words.
  check() {
    const wrong = Object.entries({
      count: this.count.length !== this.length,
      cluster: this.cluster.length !== this.length,
      scale: this.scale.length !== this.length,
      vectors: this.vectors.length !== this.length * this.dim,
      coords: this.coords.length !== this.length * this.components,
      explained: this.explained.length !== this.components,
      coords_scale: this.coordsScale.length !== this.components,
      weights: this.weights.length !== this.length * this.outputs,
      weights_scale: this.weightsScale.length !== this.outputs,
    }).filter(([, isWrong]) => isWrong);
    if (wrong.length) throw new Error(`arrays of unequal length: ${wrong.map(([name]) => name).join(", ")}`);
  }

  // The int8 vector of a word, (D,).
  row(index) {
    return this.vectors.subarray(index * this.dim, (index + 1) * this.dim);
  }

  // The vector of a word divided by its length, (D,); zeros stay zeros.
  unit(index) {
    const length = this.norms[index] || 1;
    return Float64Array.from(this.row(index), (value) => value / length);
  }

  // The row of a word: as it is typed, else in lower case; -1 if it is not among the words.
  indexOf(text) {
    this.rows ??= new Map(this.words.map((word, row) => [word, row]).reverse());
    const typed = text.trim();
    return this.rows.get(typed) ?? this.rows.get(typed.toLowerCase()) ?? -1;
  }

  // What the word alone adds to the log-odds of the label (of the second one, if there are two).
  weight(index, output = 0) {
    return this.outputs ? this.weights[index * this.outputs + output] * this.weightsScale[output] : 0;
  }

  // The largest weight of a word over all labels, without its sign.
  strength(index) {
    let largest = 0;
    for (let output = 0; output < this.outputs; output += 1) {
      largest = Math.max(largest, Math.abs(this.weight(index, output)));
    }
    return largest;
  }

  // All words' coordinates on one principal component, (V,); zeros where there is no such component.
  coordinate(component) {
    const values = new Float32Array(this.length);
    if (component < this.components) {
      const scale = this.coordsScale[component];
      for (let row = 0; row < this.length; row += 1) {
        values[row] = this.coords[row * this.components + component] * scale;
      }
    }
    return values;
  }

  // The words that contain a text or match a regular expression, the most frequent first, without regard to
  // case: {indices, error}. `error` states why an expression is invalid.
  search(text, isRegex) {
    if (text === "") return { indices: [], error: "" };
    let matches;
    if (isRegex) {
      try {
        const pattern = new RegExp(text, "iu");
        matches = (word) => pattern.test(word);
      } catch (problem) {
        return { indices: [], error: `Not a regular expression: ${problem.message}` };
      }
    } else {
      const lower = text.toLowerCase();
      matches = (word) => word.toLowerCase().includes(lower);
    }
    const indices = [];
    this.words.forEach((word, row) => { if (matches(word)) indices.push(row); });
    return { indices, error: "" };
  }

  // Up to `limit` words that begin with a text, the most frequent first.
  suggestions(text, limit = 12) {
    const lower = text.trim().toLowerCase();
    const words = [];
    for (let row = 0; row < this.length && words.length < limit && lower; row += 1) {
      if (this.words[row].toLowerCase().startsWith(lower)) words.push(this.words[row]);
    }
    return words;
  }

  // The n nearest words to a word, in the original space: [{index, score}], nearest first, by cosine
  // similarity or Euclidean distance. Words of equal score are in the order of frequency.
  neighbours(index, n, metric) {
    return this.nearest(this.row(index), this.scale[index], n, metric, [index]);
  }

  // a - b + c on unit vectors, by cosine similarity, without the three words themselves.
  analogy(a, b, c, n) {
    const [plus, minus, other] = [a, b, c].map((index) => this.unit(index));
    return this.nearest(plus.map((value, k) => value - minus[k] + other[k]), 1, n, "cosine", [a, b, c]);
  }

  // The words nearest to a vector, query (D,) * scale, but for the excluded ones.
  nearest(query, scale, n, metric, excluded) {
    const scores = metric === "euclidean" ? this.distances(query, scale) : this.cosines(query);
    const sign = metric === "euclidean" ? 1 : -1;
    for (const index of excluded) scores[index] = sign * Infinity;
    const best = [];
    for (let row = 0; row < this.length; row += 1) {
      const last = best[best.length - 1];
      if (Math.abs(scores[row]) !== Infinity && (best.length < n || sign * (scores[row] - last.score) < 0)) {
        let slot = best.length;
        while (slot > 0 && sign * (scores[row] - best[slot - 1].score) < 0) slot -= 1;
        best.splice(slot, 0, { index: row, score: scores[row] });
        if (best.length > n) best.pop();
      }
    }
    return best;
  }

  // Products of all rows, without their scale, with a query (D,): (V,).
  dots(query) {
    return query instanceof Int8Array ? integerProducts(this.vectors, Int32Array.from(query))
      : floatProducts(this.vectors, Float64Array.from(query));
  }

  // Cosine similarities of all words to a query (D,): (V,). 0 for vectors of zeros.
  cosines(query) {
    const length = norm(query);
    const scores = this.dots(query);
    for (let row = 0; row < this.length; row += 1) {
      scores[row] = this.norms[row] && length ? scores[row] / (this.norms[row] * length) : 0;
    }
    return scores;
  }

  // Euclidean distances of all words to query * scale: (V,).
  distances(query, scale) {
    const square = (norm(query) * scale) ** 2;
    const scores = this.dots(query);
    for (let row = 0; row < this.length; row += 1) {
      const own = this.norms[row] * this.scale[row];
      const cross = scores[row] * this.scale[row] * scale;
      scores[row] = Math.sqrt(Math.max(0, own * own + square - 2 * cross));
    }
    return scores;
  }

  // The direction from one set of words to another, of length 1: the difference of their mean unit vectors.
  // All words' cosine similarities to it, and their coordinates on it, centred: {scores, values}, (V,) each.
  axis(from, to) {
    const direction = new Float64Array(this.dim);
    for (const [indices, sign] of [[from, -1], [to, 1]]) {
      for (const index of indices) {
        this.unit(index).forEach((value, k) => { direction[k] += (sign * value) / indices.length; });
      }
    }
    const length = norm(direction) || 1;
    const products = this.dots(direction.map((value) => value / length));
    const values = Float32Array.from(products, (product, row) => product * this.scale[row]);
    const mean = values.reduce((sum, value) => sum + value, 0) / (this.length || 1);
    return {
      scores: products.map((product, row) => (this.norms[row] ? product / this.norms[row] : 0)),
      values: values.map((value) => value - mean),
    };
  }
}
