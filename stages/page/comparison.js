// The comparison of two runs: two explorers that share selection and hover, and a table of the words that moved.

const MOVED_ROWS = 25; // of the table at a time
const MOVED_NEAREST = 10;

// The words that moved: `arrays` as tools/explore.py packs them, S words with their rows in both plots.
class MovedWords {
  constructor(explorers, arrays, form) {
    Object.assign(this, { explorers, form, first: 0 });
    for (const [name, { data }] of Object.entries(arrays)) this[name] = data; // (S,) each
    this.rows = [this.row_a, this.row_b];
    for (const event of ["input", "change"]) form.addEventListener(event, () => this.filter());
    form.addEventListener("submit", (event) => event.preventDefault());
    for (const [name, step] of [["moves-before", -MOVED_ROWS], ["moves-after", MOVED_ROWS]]) {
      document.getElementById(name).addEventListener("click", () => { this.first += step; this.fill(); });
    }
    this.filter();
  }

  word(index) {
    return this.explorers[0].words[this.row_a[index]];
  }

  count(index, side) {
    return this.explorers[side].space.count[this.rows[side][index]];
  }

  // What the table is ordered by; the largest comes first.
  measure(index, order) {
    if (order === "kept") return -this.kept[index];
    return order === "margin" ? this.low[index] - this.seeds_high[index] : this.distance[index];
  }

  // The words that fit the form, in its order.
  filter() {
    const { text, minimum, order, exceeds } = this.form.elements;
    const part = text.value.trim().toLowerCase();
    const lowest = Math.max(1, Number(minimum.value) || 1);
    this.shown = Array.from(this.distance.keys()).filter((index) => (
      Math.min(this.count(index, 0), this.count(index, 1)) >= lowest
      && (!exceeds?.checked || this.exceeds[index])
      && this.word(index).toLowerCase().includes(part)
    ));
    const values = this.distance.map((_, index) => this.measure(index, order.value));
    this.shown.sort((left, right) => values[right] - values[left] || left - right);
    this.first = 0;
    this.fill();
  }

  // Writes the rows of the table.
  fill() {
    const { shown, first } = this;
    const page = shown.slice(first, first + MOVED_ROWS);
    document.getElementById("moves").replaceChildren(...page.map((index) => this.tableRow(index)));
    document.getElementById("moves-status").textContent = page.length
      ? `${whole(first + 1)} to ${whole(first + page.length)} of ${whole(shown.length)} words` : "No word matches.";
    document.getElementById("moves-before").disabled = first === 0;
    document.getElementById("moves-after").disabled = first + MOVED_ROWS >= shown.length;
  }

  tableRow(index) {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    const button = document.createElement("button");
    head.scope = "row";
    button.type = "button";
    button.append(isolated(this.word(index)));
    button.addEventListener("click", () => this.show(index));
    head.append(button);
    const number = (value, range) => cellOf("number", value, range);
    const digits = (value) => value.toFixed(3);
    const isRange = this.high[index] > this.low[index];
    const mark = this.exceeds?.[index] ? "▲ " : "";
    row.append(
      head, number(whole(this.count(index, 0))), number(whole(this.count(index, 1))),
      number(mark + digits(this.distance[index]),
        isRange ? `${digits(this.low[index])} to ${digits(this.high[index])}` : ""),
    );
    if (this.seeds) row.append(number(digits(this.seeds[index]), `up to ${digits(this.seeds_high[index])}`));
    row.append(number(`${Math.round(100 * this.kept[index])} %`));
    const nearest = [0, 1].map((side) => this.nearest(index, side));
    for (const side of [0, 1]) {
      const cell = cellOf("comparison-only");
      nearest[side].filter((other) => !nearest[1 - side].includes(other)).forEach((other, k) => {
        cell.append(k ? ", " : "", isolated(this.word(other)));
      });
      row.append(cell);
    }
    return row;
  }

  // The nearest of the S words to a word in the space of a side, by cosine; their numbers, nearest first.
  nearest(index, side) {
    const { space } = this.explorers[side];
    const rows = this.rows[side];
    const cosines = space.cosines(space.row(rows[index]));
    const best = [];
    for (let other = 0; other < rows.length; other += 1) {
      const cosine = cosines[rows[other]];
      if (other === index || (best.length === MOVED_NEAREST && cosine <= best.at(-1).cosine)) continue;
      let slot = best.length;
      while (slot > 0 && cosine > best[slot - 1].cosine) slot -= 1;
      best.splice(slot, 0, { other, cosine });
      if (best.length > MOVED_NEAREST) best.pop();
    }
    return best.map(({ other }) => other);
  }

  // Shows a word in both plots; the second follows the first.
  show(index) {
    this.explorers[0].show(this.row_a[index]);
    this.explorers[0].element.scrollIntoView({ block: "nearest" });
  }
}

// A word that does not change the direction of the text around it.
function isolated(word) {
  const element = document.createElement("bdi");
  element.textContent = word;
  return element;
}

function cellOf(name, text = "", range = "") {
  const cell = document.createElement("td");
  cell.className = name;
  cell.textContent = text;
  if (range) {
    const small = document.createElement("span");
    small.className = "comparison-range";
    small.textContent = range;
    cell.append(small);
  }
  return cell;
}

// Makes each explorer follow the other. `rows` are the rows of the words that both have, in each.
function linkExplorers(explorers, rows) {
  let isFollowing = false;
  explorers.forEach((from, side) => {
    const to = explorers[1 - side];
    const counterparts = new Map(Array.from(rows[side], (row, n) => [row, rows[1 - side][n]]));
    from.onselect = (indices) => {
      if (isFollowing) return;
      isFollowing = true;
      const { selection, focus } = from;
      const others = indices.map((row) => counterparts.get(row)).filter((row) => row !== undefined);
      if (selection.source === "neighbours" && counterparts.has(focus)) to.show(counterparts.get(focus));
      else if (others.length) to.select(others, selection.text);
      else to.clear();
      isFollowing = false;
    };
    from.onhover = (row) => {
      to.hover = counterparts.get(row) ?? -1;
      to.draw();
    };
  });
}

// Both explorers and the table; an explorer that cannot be made shows why.
async function compareRuns() {
  const made = ["a", "b"].map((letter) => explorerOf(
    document.getElementById(`explorer-${letter}`), document.getElementById(`space-${letter}`), { hash: false },
  ));
  const explorers = await Promise.all(made);
  if (explorers.includes(null)) return;
  const arrays = await unpack(document.getElementById("moves-data"));
  const moved = new MovedWords(explorers, arrays, document.getElementById("moves-form"));
  linkExplorers(explorers, moved.rows);
}

compareRuns();
