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
    const range = `${whole(this.first + 1)} to ${whole(last)} of ${whole(indices.length)}`;
    parts.tableCaption.textContent = `${range} ${what}`;
    parts.tableBefore.disabled = this.first === 0;
    parts.tableAfter.disabled = last >= indices.length;
  }
}

// A word's count, weight and cluster in one line.
function describe(space, index, output) {
  const { positive, negative } = weightLabels(space, output);
  const weight = space.weight(index, output);
  const side = Math.abs(weight) < 0.005 ? "" : ` (${weight > 0 ? positive : negative})`;
  const parts = [`${whole(space.count[index])} times`];
  if (space.outputs) parts.push(`weight ${signed(weight)}${side}`);
  if (space.clusters.length > 1) parts.push(`cluster ${space.clusters[space.cluster[index]]}`);
  return parts.join(" · ");
}

// Paragraphs that explain the plot as it is. Facts that are absent are left out.
function guideInto(element, { space, state }) {
  const { facts } = space;
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
  const { positive, negative } = weightLabels(space, state.output);
  const axes = [...new Set(state.axes.slice(0, state.dims))].filter((axis) => axis < space.components);
  const kept = axes.reduce((sum, axis) => sum + space.explained[axis], 0);
  const trust = facts.trustworthiness?.[axes.length];
  const isFirst = axes.every((axis) => axis < axes.length); // the measure is of the first components
  const total = facts.words_of_vocabulary;
  const ofAll = total > space.length ? ` of ${whole(total)}` : "";
  const texts = [
    `Each point is one of the ${whole(space.length)} most frequent words${ofAll}. Words that occur in `
    + `similar contexts have similar vectors. The vectors have ${space.dim} dimensions; the plot shows `
    + "principal components of them, the directions of largest variance. Those that are shown now keep "
    + `${percent(kept)} of the variance.`,
    "Words that are far apart in the plot are far apart. Words that are close in the plot may not be, so "
    + "neighbours, analogies and axes are computed from the vectors, with all dimensions.",
  ];
  if (isNumber(trust) && isFirst) {
    texts.push(`The trustworthiness of these ${axes.length} components is ${trust.toFixed(2)}. It is 1 if `
      + "all neighbours in the plot are neighbours in the original space, and about 0.5 for random places.");
  }
  if (isNumber(facts.overlap)) {
    const isReduced = facts.embedding_dims > space.dim;
    const dims = isReduced ? `${space.dim} of ${facts.embedding_dims} dimensions and ` : "";
    texts.push(`The page has the vectors with ${dims}8 bits per dimension. They keep `
      + `${percent(facts.overlap)} of the nearest neighbours that the exact vectors give.`);
  }
  const what = space.outputs > 1 ? "logit" : "log-odds";
  texts.push(`The weight of a word is what it adds to the ${what} of a label in a text that consists of it `
    + "alone, before the prediction for a short text is moved towards the frequencies of the labels. "
    + `Above 0 (blue) it is evidence for ${quoted(positive)}, below 0 (orange) for ${quoted(negative)}, and `
    + "close to 0 (grey) for neither.");
  element.replaceChildren(...texts.map((text) => {
    const paragraph = document.createElement("p");
    paragraph.textContent = text;
    return paragraph;
  }));
}
