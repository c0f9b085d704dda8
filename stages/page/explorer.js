// The explorer of the word space: a plot of all words, with search, neighbours, analogies and axes.
//
//   explorerOf(element, dataElement, options)   unpacks the data and makes an explorer. A promise of it, or
//                                               of null: then the element shows a sentence that states why.
//   new Explorer(element, arrays, options)      `arrays` from unpack(), as stages/lib/page/space.py has them
//
//   options  hash      keep the state in the address of the page (default true; for one explorer of a page)
//            wheel     "focus" (default): the wheel zooms once the plot has the focus; "always"
//            n         number of neighbours shown at first (default 10)
//            template  the <template> with the markup (default: the one of explorer_template.jinja)
//            onselect  called with the selected words (indices) after a reader changed the selection
//
//   explorer.select(indices, text)   selects words; `text` describes them. Does not call onselect.
//   explorer.show(index)             selects a word and its nearest neighbours, as a click does
//   explorer.clear()                 selects nothing
//   explorer.words, explorer.space   the words, and the questions that can be asked about them
//   explorer.onselect                may be set later
//   explorer.onhover                 called with the word (index or -1) that the pointer is on; may be set
//
// Nothing but their number is global, and the ids of all elements are unique, so a page can have several.
// element.explorer is the instance; element has data-ready="true" once the first frame is drawn.

let explorers = 0;

const DEFAULTS = { hash: true, wheel: "focus", n: 10, onselect: null, template: null };

// The explorer of packed data, or one sentence in its element.
async function explorerOf(element, data, options = {}) {
  if (typeof DecompressionStream === "undefined") {
    return refuse(element, "This browser cannot decompress the words. Current versions of Chrome, Edge, "
      + "Firefox and Safari can.");
  }
  let arrays;
  try {
    arrays = await unpack(data);
    if (!arrays.words_ends || !arrays.coords) throw new Error("arrays are missing");
  } catch {
    return refuse(element, "The words in this page are damaged or incomplete. Make or download it again.");
  }
  try {
    return new Explorer(element, arrays, options);
  } catch (problem) {
    return refuse(element, `The explorer cannot show these data: ${problem.message}.`);
  }
}

function refuse(element, sentence) {
  const paragraph = document.createElement("p");
  paragraph.className = "explorer-problem";
  paragraph.setAttribute("role", "alert");
  paragraph.textContent = sentence;
  element.replaceChildren(paragraph);
  element.dataset.ready = "false";
  return null;
}

// A word in a sentence, isolated from the direction of the text around it.
function quoted(word) {
  return `“\u2068${word}\u2069”`;
}

class Explorer extends Plot {
  constructor(element, arrays, options = {}) {
    super();
    this.options = { ...DEFAULTS, ...options };
    this.onselect = this.options.onselect;
    this.element = element;
    this.arrays = arrays;
    this.space = new WordSpace(arrays);
    if (!this.space.length) throw new Error("there are no words");
    this.words = this.space.words;
    this.camera = new Camera();
    const dims = this.space.components > 2 ? 3 : 2;
    this.state = {
      dims, axes: [0, 1, 2], colour: "weight", output: 0, sized: true, search: "", isRegex: false,
      n: this.options.n, metric: "cosine", lines: true, isolate: false, axis: null,
    };
    this.selection = { indices: [], set: new Set(), source: "none", text: "" };
    this.focus = -1;
    this.hover = -1;
    this.neighbours = [];
    this.axisValues = null;
    this.pixels = null;
    this.budget = this.space.length;
    explorers += 1;
    this.controls = new Controls(this, `explorer-${explorers}`);
    this.overlay = new Overlay(this.part("overlay"), this.space);
    this.input = new PlotInput(this, this.part("overlay"));
    this.theme = themeOf(element);
    this.startView();
    this.layout();
    this.watch();
    element.explorer = this;
    const restored = this.options.hash ? stateIn(location.hash, this.space) : null;
    this.restore(restored);
    this.refresh();
    if (restored && this.options.wheel !== "always") element.scrollIntoView();
  }

  // An element of the explorer by its data-part.
  part(name) {
    return this.controls.parts[name];
  }

  // Redraws when the size, the theme or the hash changes.
  watch() {
    new ResizeObserver(() => this.resize()).observe(this.part("plot"));
    const restyle = () => { this.theme = themeOf(this.element); this.refresh(); };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
    new MutationObserver(restyle).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    this.element.addEventListener("keydown", (event) => { if (event.key === "Escape") this.clear(); });
    for (const name of ["pointerdown", "keydown", "wheel"]) {
      this.element.addEventListener(name, () => { this.isTouched = true; }, { capture: true, passive: true });
    }
    if (this.options.hash) {
      addEventListener("hashchange", () => {
        const state = stateIn(location.hash, this.space);
        if (!state) return; // a link to another part of the page
        this.restore(state);
        this.refresh();
      });
    }
  }

  // After a change of anything but the camera.
  refresh() {
    this.style();
    this.controls.update();
    this.draw();
    this.remember();
  }

  // After a move of the camera.
  moved() {
    this.isMoving = true;
    this.controls.showTip(-1);
    clearTimeout(this.rest);
    this.rest = setTimeout(() => { this.isMoving = false; this.draw(); }, 150);
    this.draw();
    this.remember();
  }

  // Selects words without a call of onselect.
  select(indices, text = "") {
    const words = Array.from(indices);
    this.setSelection(words, "outside", text, words.length === 1 ? words[0] : -1);
  }

  // `source` states what selected the words: search, neighbours, analogy, axis, shape, cluster or outside.
  setSelection(indices, source, text, focus = -1) {
    this.isTouched = true;
    if (source !== "neighbours") this.neighbours = [];
    this.selection = { indices, set: new Set(indices), source, text };
    this.focus = focus;
    if (source !== "search") this.state.search = "";
    if (!indices.length) this.state.isolate = false;
    if (source !== "outside") this.onselect?.(indices);
    this.refresh();
    if (this.state.isolate) this.fit();
  }

  // Selects a word and its nearest neighbours in the original space.
  show(index) {
    const { space, state } = this;
    this.neighbours = space.neighbours(index, state.n, state.metric);
    const total = this.neighbours.length;
    const text = `${quoted(this.words[index])} and its ${total} nearest`;
    this.setSelection([index, ...this.neighbours.map((word) => word.index)], "neighbours", text, index);
    this.reveal(index);
  }

  search(text, isRegex) {
    Object.assign(this.state, { search: text, isRegex });
    const { indices, error } = this.space.search(text, isRegex);
    this.searchError = error;
    const verb = isRegex ? "match" : "contain";
    if (text) this.setSelection(indices, "search", `words that ${verb} ${quoted(text)}`);
    else if (this.selection.source === "search") this.clear();
  }

  // Selects the words inside a polygon of pixels; `isAdded`: besides the present selection.
  selectInside(polygon, shape, isAdded) {
    const indices = new Set(isAdded ? this.selection.indices : []);
    for (const index of enclosed(polygon, this.pixels, this.shownSizes)) indices.add(index);
    const sorted = [...indices].sort((left, right) => left - right);
    this.setSelection(sorted, "shape", `words inside the ${shape}`);
  }

  selectCluster(cluster) {
    const indices = Array.from(this.words.keys()).filter((row) => this.space.cluster[row] === cluster);
    this.setSelection(indices, "cluster", `words of the cluster ${quoted(this.space.clusters[cluster])}`);
  }

  // Selects nothing and shows all words.
  clear() {
    const wasIsolated = this.state.isolate;
    this.searchError = "";
    Object.assign(this.state, { search: "", isolate: false });
    this.setSelection([], "none", "");
    if (wasIsolated) this.fit();
  }

  // Shows only the selection, or all words again.
  isolate(isOn) {
    this.state.isolate = isOn && this.selection.indices.length > 0;
    this.refresh();
    this.fit();
  }

  // The axis between two sets of words, whose ends are selected. `isUsed`: as the x axis of the plot.
  setAxis(from, to, texts, isUsed) {
    const { scores, values } = this.space.axis(from, to);
    this.state.axis = texts;
    this.axisValues = values;
    const order = Array.from(scores.keys());
    order.sort((left, right) => scores[right] - scores[left] || left - right);
    const n = Math.min(this.state.n, Math.floor(order.length / 2));
    const ends = (indices) => indices.map((index) => ({ index, score: scores[index] }));
    this.axisEnds = { to: ends(order.slice(0, n)), from: ends(order.slice(order.length - n).reverse()) };
    const indices = [...this.axisEnds.from, ...this.axisEnds.to].map(({ index }) => index);
    this.setSelection(indices, "axis", `both ends of the axis ${quoted(texts[0])} → ${quoted(texts[1])}`);
    const others = this.state.axes.map((axis, k) => (axis === "words" ? k : axis));
    this.setAxes(isUsed ? ["words", ...others.slice(1)] : others);
  }

  setAxes(axes) {
    this.state.axes = axes.map((axis, k) => (axis === "words" && !this.axisValues ? k : axis));
    this.layout();
    this.refresh();
    this.fit();
  }

  setDims(dims) {
    this.state.dims = this.isFallback || this.space.components < 3 ? 2 : dims;
    Object.assign(this.camera, this.state.dims === 3 ? TILTED : STRAIGHT);
    this.layout();
    this.refresh();
    this.fit();
  }

  hoverAt(x, y) {
    const hover = this.pixels ? pick(x, y, this.pixels, this.shownSizes) : -1;
    if (hover === this.hover) return;
    this.hover = hover;
    this.controls.showTip(hover);
    this.onhover?.(hover);
    this.draw();
  }

  clickAt(x, y) {
    const index = pick(x, y, this.pixels, this.shownSizes);
    if (index >= 0) this.show(index);
  }

  // Centres the word at a pixel, closer.
  enterAt(x, y) {
    const index = pick(x, y, this.pixels, this.shownSizes, 30);
    if (index >= 0) this.fly({ distance: this.camera.distance * 0.5, target: this.place(index) });
  }

  // Writes the state into the address, a moment after the last change.
  remember() {
    if (!this.options.hash) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (!this.isTouched && !location.hash.startsWith(HASH_START)) return;
      try {
        history.replaceState(null, "", hashOf(this));
      } catch {
        // Some browsers forbid it for files; the page then has no link to its state.
      }
    }, 250);
  }

  // Restores the state of a hash; null leaves everything as it is.
  restore(state) {
    if (!state) return;
    const { dims, axes, isRegex } = state;
    for (const name of ["colour", "metric", "n", "sized", "lines", "output", "isRegex"]) {
      if (name in state) this.state[name] = state[name];
    }
    if (dims) this.setDims(dims);
    if (state.axis) this.controls.applyAxis(...state.axis, axes?.[0] === "words");
    if (axes) this.setAxes(axes);
    if (state.search) this.search(state.search, isRegex);
    else if (state.word >= 0 && !state.selected.length) this.show(state.word);
    else if (state.selected.length) this.setSelection(state.selected, "shape", "words", state.word);
    if (state.isolate) this.isolate(true);
    this.restoredCamera = state.camera;
    if (state.camera && this.ratio) this.setCamera(state.camera);
  }

  // The picture as a file. The frame is drawn again, because a WebGL canvas is empty once it has been shown.
  async savePicture() {
    this.drawNow();
    download(await pngOf(this.part("points"), this.part("overlay")), "words.png");
  }

  // The coordinates of the selected words, or of all.
  saveCoordinates() {
    const { indices } = this.selection;
    downloadCsv(coordinatesCsv(this.space, indices.length ? indices : [...this.words.keys()]), "words.csv");
  }

  saveNeighbours() {
    const { space, focus, neighbours, state } = this;
    if (focus >= 0) downloadCsv(neighboursCsv(space, focus, neighbours, state.metric), "neighbours.csv");
  }
}
