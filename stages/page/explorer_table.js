// The words as an HTML table, a hundred at a time, and the text that explains the plot.

const PAGE_ROWS = 100;

class WordTable {
  constructor(explorer, parts) {
    Object.assign(this, { explorer, parts, first: 0, shown: null });
    parts.tableBox.addEventListener("toggle", () => this.update());
    parts.tableBefore.addEventListener("click", () => this.turn(-PAGE_ROWS));
    parts.tableAfter.addEventListener("click", () => this.turn(PAGE_ROWS));
  }

  turn(rows) {
    this.first += rows;
    this.shown = null;
    this.update();
  }

  // The selected words, or all; nothing is built while the table is folded.
  update() {
    const { explorer, parts } = this;
    const { selection, space, state } = explorer;
    if (!parts.tableBox.open) return;
    const key = `${this.first} ${state.output}`;
    if (this.shown === selection && this.key === key) return;
    if (this.shown && this.shown !== selection) this.first = 0;
    Object.assign(this, { shown: selection, key });
    const indices = selection.indices.length ? selection.indices : Array.from(space.words.keys());
    const page = indices.slice(this.first, this.first + PAGE_ROWS);
    const scores = new Map(explorer.neighbours.map(({ index, score }) => [index, score]));
    const isScored = selection.source === "neighbours";
    const cell = (text, tag = "td", name = "") => {
      const element = document.createElement(tag);
      element.className = name;
      element.textContent = text;
      return element;
    };
    const heading = (text, name) => {
      const element = cell(text, "th", name);
      element.scope = "col";
      return element;
    };
    const { positive } = weightLabels(space, state.output);
    parts.tableHead.replaceChildren(
      heading("word", ""), heading("count", "number"), heading(`weight for ${positive}`, "number"),
      heading("cluster", ""), ...(isScored ? [heading(state.metric, "number")] : []),
    );
    parts.tableBody.replaceChildren(...page.map((index) => {
      const row = document.createElement("tr");
      const word = document.createElement("th");
      const name = document.createElement("bdi");
      word.scope = "row";
      name.textContent = space.words[index];
      word.append(name);
      row.append(word, cell(whole(space.count[index]), "td", "number"),
        cell(signed(space.weight(index, state.output)), "td", "number"),
        cell(space.clusters[space.cluster[index]] ?? ""));
      if (isScored) row.append(cell(scores.get(index)?.toFixed(3) ?? "", "td", "number"));
      return row;
    }));
    const last = this.first + page.length;
    const what = selection.indices.length ? "selected words" : "words, the most frequent first";
    parts.tableCaption.textContent = `${whole(this.first + 1)} to ${whole(last)} of ${whole(indices.length)} ${what}`;
    parts.tableBefore.disabled = this.first === 0;
    parts.tableAfter.disabled = last >= indices.length;
  }
}

// Paragraphs that explain the plot. Facts that are absent are left out.
function guideInto(element, space) {
  const { facts } = space;
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
  const { positive, negative } = weightLabels(space, 0);
  const kept = space.explained.slice(0, 3).reduce((sum, share) => sum + share, 0);
  const texts = [
    `Each point is a word. Words that occur in similar company have similar vectors of ${space.dim} numbers. The plot `
    + `shows ${Math.min(3, space.components)} directions of these vectors, their principal components, which keep `
    + `${percent(kept)} of the variance. Words that are far apart in the plot are far apart; words that are close in `
    + "the plot may not be. Neighbours, analogies and axes use all numbers of the vectors, not the plot.",
  ];
  if (isNumber(facts.trustworthiness)) {
    texts.push(`The trustworthiness of the first three components is ${facts.trustworthiness.toFixed(2)}: 1 if all `
      + "neighbours in the plot are neighbours in the original space too, about 0.5 if the plot were random.");
  }
  if (isNumber(facts.overlap)) {
    texts.push(`The vectors in this page are rounded to 8 bits. ${percent(facts.overlap)} of the words' nearest `
      + "neighbours stay the same.");
  }
  texts.push(`The weight is what the word alone adds to the log-odds of the label in the classifier: above 0 (blue) it `
    + `is evidence for ${quoted(positive)}, below 0 (orange) for ${quoted(negative)}, and near 0 (grey) for neither.`);
  element.replaceChildren(...texts.map((text) => {
    const paragraph = document.createElement("p");
    paragraph.textContent = text;
    return paragraph;
  }));
}
