// The controls of an explorer: they call its methods, and update() shows its state.

const PREFIXED = ["id", "for", "list", "aria-controls", "aria-labelledby", "aria-describedby"];
const LISTED = 100; // words at most in the list of a search

class Controls {
  // Fills the explorer's element with a copy of the template. `prefix` makes its ids unique in the page.
  constructor(explorer, prefix) {
    this.explorer = explorer;
    const template = explorer.options.template ?? document.getElementById("explorer-template");
    const content = document.importNode(template.content, true);
    for (const name of PREFIXED) {
      for (const element of content.querySelectorAll(`[${name}]`)) {
        element.setAttribute(name, `${prefix}-${element.getAttribute(name)}`);
      }
    }
    this.parts = Object.fromEntries(
      Array.from(content.querySelectorAll("[data-part]"), (element) => [element.dataset.part, element]),
    );
    this.tabs = Array.from(content.querySelectorAll("[role=tab]"));
    this.panels = Array.from(content.querySelectorAll("[role=tabpanel]"));
    explorer.element.replaceChildren(content);
    this.table = new WordTable(explorer, this.parts);
    this.fillMenus();
    this.listenToView();
    this.listenToQuestions();
    this.listenToTabs();
    this.openTab(1);
  }

  on(name, event, action) {
    this.parts[name].addEventListener(event, action);
  }

  fillMenus() {
    const { space } = this.explorer;
    const option = (value, text) => {
      const element = document.createElement("option");
      element.value = value;
      element.textContent = text;
      return element;
    };
    for (const k of [0, 1, 2]) {
      const menu = this.parts[`axis${k}`];
      for (let component = 0; component < space.components; component += 1) {
        const share = (100 * space.explained[component]).toFixed(1);
        menu.append(option(component, `${component + 1} (${share} %)`));
      }
      if (k >= space.components) menu.append(option(k, "none"));
      menu.append(option("words", "from … to …"));
    }
    space.labels.slice(0, space.outputs).forEach((label, k) => this.parts.output.append(option(k, label)));
    this.parts.outputBox.hidden = space.outputs < 2;
    this.parts.wheelHint.hidden = this.explorer.options.wheel === "always";
    this.parts.n.max = Math.max(1, Math.min(200, space.length - 1));
  }

  listenToView() {
    const { explorer, parts } = this;
    const { state } = explorer;
    this.on("colour", "change", () => { state.colour = parts.colour.value; explorer.refresh(); });
    this.on("output", "change", () => { state.output = Number(parts.output.value); explorer.refresh(); });
    this.on("sized", "change", () => { state.sized = parts.sized.checked; explorer.refresh(); });
    for (const k of [0, 1, 2]) {
      this.on(`axis${k}`, "change", () => {
        const { value } = parts[`axis${k}`];
        explorer.setAxes(state.axes.map((axis, other) => {
          if (other !== k) return axis;
          return value === "words" ? value : Number(value);
        }));
        if (value === "words" && !explorer.axisValues) this.openTab(3, true);
      });
    }
    this.on("dims3", "click", () => explorer.setDims(3));
    this.on("dims2", "click", () => explorer.setDims(2));
    for (const [name, mode] of [["modeMove", "move"], ["modeBox", "box"], ["modeLasso", "lasso"]]) {
      this.on(name, "click", () => { explorer.input.mode = mode; this.update(); });
    }
    this.on("closer", "click", () => explorer.zoomBy(0.7));
    this.on("farther", "click", () => explorer.zoomBy(1 / 0.7));
    this.on("fit", "click", () => explorer.fit());
    this.on("isolate", "click", () => explorer.isolate(!state.isolate));
    this.on("clear", "click", () => explorer.clear());
    this.on("savePicture", "click", () => explorer.savePicture());
    this.on("saveCoordinates", "click", () => explorer.saveCoordinates());
    this.on("saveNeighbours", "click", () => explorer.saveNeighbours());
  }

  listenToQuestions() {
    const { explorer, parts } = this;
    const { state } = explorer;
    for (const name of ["search", "regex"]) {
      this.on(name, "input", () => explorer.search(parts.search.value, parts.regex.checked));
    }
    this.on("neighboursForm", "submit", (event) => { event.preventDefault(); this.showWord(); });
    this.on("analogyForm", "submit", (event) => { event.preventDefault(); this.showAnalogy(); });
    this.on("axisForm", "submit", (event) => {
      event.preventDefault();
      this.applyAxis(parts.axisFrom.value, parts.axisTo.value, parts.axisUsed.checked);
    });
    for (const name of ["word", "analogyA", "analogyB", "analogyC"]) {
      this.on(name, "input", () => this.suggest(parts[name].value));
    }
    for (const name of ["n", "metric"]) {
      this.on(name, "change", () => {
        const n = Math.round(Number(parts.n.value));
        state.n = Math.max(1, Math.min(200, n || 1));
        state.metric = parts.metric.value;
        if (explorer.selection.source === "neighbours") explorer.show(explorer.focus);
        else explorer.refresh();
      });
    }
    this.on("lines", "change", () => { state.lines = parts.lines.checked; explorer.refresh(); });
  }

  // Tabs as screen readers know them: arrows move between them, Tab goes on to the panel.
  listenToTabs() {
    this.tabs.forEach((tab, k) => {
      tab.addEventListener("click", () => this.openTab(k));
      tab.addEventListener("keydown", (event) => {
        const total = this.tabs.length;
        const next = { ArrowRight: k + 1, ArrowLeft: k + total - 1, Home: 0, End: total - 1 }[event.key];
        if (next === undefined) return;
        event.preventDefault();
        this.openTab(next % total);
        this.tabs[next % total].focus();
      });
    });
  }

  openTab(open, isFocused = false) {
    this.tabs.forEach((tab, k) => {
      tab.setAttribute("aria-selected", String(k === open));
      tab.tabIndex = k === open ? 0 : -1;
      this.panels[k].hidden = k !== open;
    });
    if (isFocused) this.panels[open].querySelector("input").focus();
  }

  suggest(text) {
    this.parts.suggestions.replaceChildren(...this.explorer.space.suggestions(text).map((word) => {
      const option = document.createElement("option");
      option.value = word;
      return option;
    }));
  }

  // The row of a typed word, or -1 and a message.
  rowOf(text, message) {
    const row = this.explorer.space.indexOf(text);
    const typed = text.trim();
    const problem = typed ? `${quoted(typed)} is not among the words.` : "Type a word.";
    message.textContent = row < 0 ? problem : "";
    return row;
  }

  showWord() {
    const row = this.rowOf(this.parts.word.value, this.parts.wordMessage);
    if (row >= 0) this.explorer.show(row);
  }

  showAnalogy() {
    const { explorer, parts } = this;
    const rows = [];
    for (const name of ["analogyA", "analogyB", "analogyC"]) {
      const row = this.rowOf(parts[name].value, parts.analogyMessage);
      if (row < 0) return;
      rows.push(row);
    }
    const answers = explorer.space.analogy(...rows, explorer.state.n);
    const [a, b, c] = rows.map((row) => quoted(explorer.words[row]));
    explorer.setSelection([...rows, ...answers.map(({ index }) => index)], "analogy", `${a} − ${b} + ${c}`);
    this.list("analogyList", answers);
  }

  // Sets of words, separated by commas or spaces.
  applyAxis(from, to, isUsed) {
    const { explorer, parts } = this;
    Object.assign(parts.axisFrom, { value: from });
    Object.assign(parts.axisTo, { value: to });
    const sets = [];
    for (const text of [from, to]) {
      const words = text.match(/[^\s,]+/g) ?? [];
      const missing = words.filter((word) => explorer.space.indexOf(word) < 0);
      const problem = missing.length ? `Not among the words: ${missing.map(quoted).join(", ")}.`
        : "Type one word or several on both sides.";
      parts.axisMessage.textContent = missing.length || !words.length ? problem : "";
      if (missing.length || !words.length) return;
      sets.push(words.map((word) => explorer.space.indexOf(word)));
    }
    explorer.setAxis(...sets, [from.trim(), to.trim()], isUsed);
    for (const [end, text] of [["From", from], ["To", to]]) {
      parts[`axis${end}Title`].textContent = text.trim();
      this.list(`axis${end}List`, explorer.axisEnds[end.toLowerCase()]);
    }
    parts.axisEnds.hidden = false;
  }

  // A list of words with scores; each is a button that shows the word's neighbours.
  list(name, items) {
    const { explorer } = this;
    this.parts[name].replaceChildren(...items.map(({ index, score }) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      const word = document.createElement("bdi");
      const number = document.createElement("span");
      button.type = "button";
      word.textContent = explorer.words[index];
      const { count } = explorer.space;
      number.textContent = score?.toFixed(3).replace("-", "−") ?? whole(count[index]);
      number.className = "explorer-score";
      button.append(word, number);
      button.addEventListener("click", () => { this.openTab(1); explorer.show(index); });
      button.addEventListener("pointerenter", () => { explorer.hover = index; explorer.draw(); });
      button.addEventListener("pointerleave", () => { explorer.hover = -1; explorer.draw(); });
      item.append(button);
      return item;
    }));
  }

  // Shows the state of the explorer in all controls.
  update() {
    const { explorer, parts } = this;
    const { state, selection, space } = explorer;
    Object.assign(parts.colour, { value: state.colour });
    Object.assign(parts.output, { value: state.output });
    Object.assign(parts.metric, { value: state.metric });
    state.axes.forEach((axis, k) => { parts[`axis${k}`].value = axis; });
    for (const name of ["sized", "lines"]) parts[name].checked = state[name];
    if (document.activeElement !== parts.n) parts.n.value = state.n;
    if (document.activeElement !== parts.search) parts.search.value = state.search;
    parts.regex.checked = state.isRegex;
    parts.axis2Box.hidden = state.dims === 2;
    parts.dims3.disabled = explorer.isFallback || space.components < 3;
    const press = (name, isPressed) => parts[name].setAttribute("aria-pressed", String(isPressed));
    press("dims3", state.dims === 3);
    press("dims2", state.dims === 2);
    press("isolate", state.isolate);
    const { mode } = explorer.input;
    for (const name of ["Move", "Box", "Lasso"]) press(`mode${name}`, mode === name.toLowerCase());
    parts.plot.dataset.mode = mode;
    const total = selection.indices.length;
    parts.isolate.textContent = state.isolate ? "Show all" : "Isolate";
    parts.isolate.disabled = total === 0;
    parts.clear.disabled = total === 0 && !state.search;
    parts.saveNeighbours.disabled = explorer.focus < 0 || !explorer.neighbours.length;
    const what = selection.text ? `: ${selection.text}` : "";
    parts.status.textContent = total ? `${whole(total)} of ${whole(space.length)} words selected${what}`
      : `${whole(space.length)} words, none selected`;
    const label = `Plot of ${whole(space.length)} words in ${state.dims} dimensions`;
    parts.overlay.setAttribute("aria-label", label);
    const onselect = (cluster) => explorer.selectCluster(cluster);
    parts.legend.replaceChildren(...legendOf(space, explorer.theme, state, onselect));
    guideInto(parts.guideText, explorer);
    this.updateAnswers();
    this.table.update();
  }

  updateAnswers() {
    const { explorer, parts } = this;
    const { state, selection, space, focus } = explorer;
    const matches = selection.source === "search" ? selection.indices : [];
    let message = explorer.searchError ?? "";
    if (!message && state.search && !matches.length) message = "No word matches.";
    if (matches.length > LISTED) message = `The ${LISTED} most frequent of ${whole(matches.length)}:`;
    parts.searchMessage.textContent = message;
    this.list("searchList", matches.slice(0, LISTED).map((index) => ({ index })));
    const isShown = selection.source === "neighbours";
    if (isShown) {
      parts.word.value = explorer.words[focus];
      parts.wordMessage.textContent = describe(space, focus, state.output);
    } else parts.wordMessage.textContent = "Click a point, or type a word.";
    this.list("neighboursList", isShown ? explorer.neighbours : []);
  }

  // What the word under the pointer is.
  showTip(index) {
    const { tip } = this.parts;
    const { explorer } = this;
    tip.hidden = index < 0;
    if (index < 0) return;
    const word = document.createElement("bdi");
    word.textContent = explorer.words[index];
    const text = document.createElement("span");
    text.textContent = describe(explorer.space, index, explorer.state.output);
    tip.replaceChildren(word, text);
    const { x, y } = explorer.pixels;
    const isRight = x[index] > explorer.camera.width / 2;
    tip.style.left = isRight ? "auto" : `${x[index] + 14}px`;
    tip.style.right = isRight ? `${explorer.camera.width - x[index] + 14}px` : "auto";
    tip.style.top = `${Math.min(y[index] + 12, explorer.camera.height - 60)}px`;
  }
}
