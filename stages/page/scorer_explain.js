// What a text is worth to the model: logits, probabilities, and what each word and n-gram contributes.

const LONGEST_NGRAM = 8; // words

// The model that `scorer_of` packed: `score(text)` and `labels`.
function scorerModel(arrays) {
  const config = JSON.parse(strings(arrays, "config")[0]);
  const words = strings(arrays, "words")[0].split("\n");
  const model = {
    config,
    labels: strings(arrays, "labels"),
    tokenise: tokeniserOf(config.tokeniser, arrays),
    numbers: new Map(words.map((word, index) => [word, index + UNKNOWN_ROW + 1])),
    weight: arrays.weight && tableOf(arrays, "weight"),
    idf: arrays.idf?.data,
    vectors: arrays.vectors && tableOf(arrays, "vectors"),
    layer: arrays.layer && tableOf(arrays, "layer"),
    ngrams: ngramsFrom(config.ngrams, arrays),
    letters: lettersFrom(arrays),
  };
  model.score = (text) => scoredText(model, text);
  return model;
}

// The n-grams of words: their weights, and a function that finds them in a list of row numbers.
function ngramsFrom(config, arrays) {
  if (!arrays.ngrams_weight) return null;
  const weight = tableOf(arrays, "ngrams_weight");
  if (!weight.data.length) return null;
  const counts = [new Float64Array(weight.data.length / weight.width), null];
  counts[1] = new Float64Array(counts[0].length);
  if (config.buckets) return { weight, counts, find: (rows, found) => findInBuckets(config, rows, found) };
  const trie = trieFrom(arrays, "ngrams");
  return { weight, counts, find: (rows, found) => findInTrie(trie, rows, found) };
}

// The n-grams of letters.
function lettersFrom(arrays) {
  if (!arrays.alphabet) return null;
  return {
    numbers: new Map(Array.from(arrays.alphabet.data, (point, index) => [point, index + FIRST_LETTER])),
    trie: trieFrom(arrays, "letters"),
    weight: tableOf(arrays, "letters_weight"),
    wordWeight: tableOf(arrays, "word_weight"),
    wordCount: storedIntegers(arrays, "word_count"),
  };
}

// The row number of a token in the vocabulary, or undefined.
function rowOf(numbers, token) {
  if (token.length <= LONG_WORD) return numbers.get(token);
  const points = Array.from(token);
  if (points.length <= LONG_WORD) return numbers.get(token);
  const sum = crc32(new TextEncoder().encode(token)).toString(16).padStart(8, "0");
  return numbers.get(`${points.slice(0, LONG_WORD).join("")}\0${points.length} ${sum}`);
}

// CRC-32 of bytes.
function crc32(bytes) {
  let sum = -1;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return ~sum >>> 0;
}

// The tokens that cutting keeps.
function cutTokens(tokens, { width, keep }) {
  if (width === null || tokens.length <= width) return tokens;
  const head = { head: width, tail: 0, both: Math.ceil(width / 2) }[keep];
  return [...tokens.slice(0, head), ...tokens.slice(tokens.length - (width - head))];
}

// A text with its tokens, logits (O), probabilities (L) and the number of its label.
function scoredText(model, text) {
  const { config } = model;
  const all = model.tokenise(text);
  const tokens = cutTokens(all, config);
  const known = tokens.map((token) => rowOf(model.numbers, token));
  const rows = known.map((row) => row ?? UNKNOWN_ROW);
  const knownCount = known.reduce((count, row) => count + (row !== undefined), 0);
  const words = knownCount + UNKNOWN_EVIDENCE * (tokens.length - knownCount);
  const share = 1 - 0.5 ** (words / Math.max(config.shrinkage, 1e-9));
  const raw = config.bias.slice();
  const spans = []; // five values for each span, because a long text has many
  const add = (table, row, factor, start, end) => {
    addRow(raw, table, row, factor);
    spans.push(table, row, factor, start, end);
  };
  addWords(model, rows, raw, add);
  if (model.ngrams) addNgrams(config.ngrams, model.ngrams, rows, add);
  if (model.letters) addLetters(model.letters, tokens, known, add);
  const shrunk = (logits) => logits.map((logit, n) => share * logit + (1 - share) * config.prior[n]);
  const logits = shrunk(raw);
  const probabilities = probabilitiesOf(logits, config.temperature);
  return {
    tokens,
    logits,
    probabilities,
    label: decidedLabel(probabilities, config.threshold),
    known: knownCount,
    dropped: all.length - tokens.length,
    isKnown: (position) => known[position] !== undefined,
    explain: (label) => {
      const contributions = model.vectors ? null : contributionsOf(spans, tokens.length, share, label, logits);
      return explanationOf(label, logits, shrunk(config.bias), contributions);
    },
  };
}

// Adds the pooled weights of the words.
function addWords({ config: { pool }, weight, idf, vectors, layer }, rows, raw, add) {
  if (weight) {
    const each = rows.map((row) => (idf ? idf[row] : 1));
    const total = pool === "sum" ? 1 : Math.max(each.reduce((sum, one) => sum + one, 0), SMALLEST_SUM);
    rows.forEach((row, position) => add(weight, row, each[position] / total, position, position + 1));
  }
  if (vectors && rows.length) {
    const largest = new Float64Array(vectors.width).fill(-Infinity);
    for (const row of rows) {
      for (let n = 0; n < largest.length; n++) {
        largest[n] = Math.max(largest[n], vectors.data[row * largest.length + n]);
      }
    }
    for (let output = 0; output < raw.length; output++) {
      largest.forEach((value, n) => {
        raw[output] += value * layer.data[output * largest.length + n];
      });
    }
  }
}

// Adds the n-grams of words. `counts` are two lists of zeros, for the whole text and for its ending.
function addNgrams({ binary, pool, ending_boost: boost }, { weight, counts, find }, rows, add) {
  const ending = rows.length - Math.floor(rows.length / ENDING_PARTS);
  const matches = [];
  find(rows, (start, end, row) => {
    matches.push([start, end, row]);
    counts[0][row]++;
    if (start >= ending) counts[1][row]++;
  });
  const values = matches.map(([start, , row]) => {
    const whole = 1 / (binary ? counts[0][row] : 1);
    return start < ending ? whole : whole + boost / (binary ? counts[1][row] : 1);
  });
  const total = Math.max(1, values.reduce((sum, value) => sum + value, 0)) ** POOL_POWERS[pool];
  matches.forEach(([start, end, row], n) => {
    counts[0][row] = counts[1][row] = 0;
    add(weight, row, values[n] / total, start, end);
  });
}

// Adds the n-grams of letters. Each word counts once; its contribution is divided among its occurrences.
function addLetters(letters, tokens, known, add) {
  const words = new Map(); // by token: {count, table, row, positions}
  tokens.forEach((token, position) => {
    let word = words.get(token);
    if (!word) words.set(token, (word = spelledWord(letters, token, known[position])));
    word.positions.push(position);
  });
  let total = 0;
  for (const word of words.values()) total += word.count;
  const root = Math.sqrt(Math.max(1, total));
  for (const { table, row, positions } of words.values()) {
    for (const position of positions) add(table, row, 1 / (root * positions.length), position, position + 1);
  }
}

// The weights of a word and the number of its known n-grams.
function spelledWord({ numbers, trie, weight, wordWeight, wordCount }, token, row) {
  if (row !== undefined) return { table: wordWeight, row, count: wordCount[row], positions: [] };
  const digits = [WORD_BOUNDARY];
  for (const letter of token.slice(0, 2 * MAX_LETTERS)) {
    if (digits.length > MAX_LETTERS) break;
    digits.push(numbers.get(letter.codePointAt(0)) ?? UNKNOWN_LETTER);
  }
  digits.push(WORD_BOUNDARY);
  const sums = new Float64Array(weight.width);
  let count = 0;
  findInTrie(trie, digits, (start, end, found) => {
    addRow(sums, weight, found, 1);
    count++;
  });
  return { table: { width: weight.width, data: sums }, row: 0, count, positions: [] };
}

// Sigmoid or softmax.
function probabilitiesOf(logits, temperature) {
  const scaled = logits.map((logit) => logit / temperature);
  if (scaled.length === 1) return [1 / (1 + Math.exp(scaled[0])), 1 / (1 + Math.exp(-scaled[0]))];
  const highest = Math.max(...scaled);
  const each = scaled.map((logit) => Math.exp(logit - highest));
  const sum = each.reduce((total, value) => total + value, 0);
  return each.map((value) => value / sum);
}

// The number of the predicted label. The threshold applies to two labels.
function decidedLabel(probabilities, threshold) {
  if (probabilities.length === 2) return probabilities[1] >= threshold ? 1 : 0;
  return probabilities.indexOf(Math.max(...probabilities));
}

// How the logit of a label is made up: the bias and all contributions sum to it. Two labels share one logit;
// the first label's is its negative. `contributions` is null if the pool takes a maximum, which has none.
function explanationOf(label, logits, bias, contributions) {
  const [column, sign] = columnOf(label, logits);
  return { label, logit: sign * logits[column], bias: sign * bias[column], contributions };
}

// The logit of a label, and its sign.
function columnOf(label, logits) {
  return logits.length > 1 ? [label, 1] : [0, 2 * label - 1];
}

// What the words and n-grams add to the logit of a label, in the order of their positions. Those of a word and
// of its letters are one.
function contributionsOf(spans, tokens, share, label, logits) {
  const [column, sign] = columnOf(label, logits);
  const sums = new Float64Array(tokens * LONGEST_NGRAM);
  const present = new Uint8Array(sums.length);
  for (let n = 0; n < spans.length; n += 5) {
    const [table, row, factor] = [spans[n], spans[n + 1], spans[n + 2]];
    const span = spans[n + 3] * LONGEST_NGRAM + spans[n + 4] - spans[n + 3] - 1;
    sums[span] += sign * share * factor * table.data[row * table.width + column];
    present[span] = 1;
  }
  const contributions = [];
  for (let span = 0; span < sums.length; span++) {
    if (present[span]) {
      const start = Math.floor(span / LONGEST_NGRAM);
      contributions.push({ start, end: start + (span % LONGEST_NGRAM) + 1, value: sums[span] });
    }
  }
  return contributions;
}
