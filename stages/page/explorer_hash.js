// The state of the explorer as the hash of the page's address, so that a link shows what its sender saw.

const HASH_START = "#explorer:";
const SELECTED_IN_HASH = 400; // words at most; a larger selection is left out

// The state as text.
function hashOf(explorer) {
  const { state, camera, space, selection, options } = explorer;
  const values = { dims: state.dims, axes: state.axes.join(","), colour: state.colour };
  if (space.outputs > 1) values.label = space.labels[state.output];
  if (!state.sized) values.sized = 0;
  const round = (value) => Number(value.toFixed(4));
  values.camera = [camera.yaw, camera.pitch, camera.distance, ...camera.target].map(round).join(",");
  if (explorer.focus >= 0) values.word = space.words[explorer.focus];
  if (state.search) values.search = state.search;
  if (state.isRegex) values.regex = 1;
  if (state.n !== options.n) values.n = state.n;
  if (state.metric !== "cosine") values.metric = state.metric;
  if (!state.lines) values.lines = 0;
  if (state.axis) [values.from, values.to] = state.axis;
  if (state.isolate) values.isolate = 1;
  if (selection.source === "shape" && selection.indices.length <= SELECTED_IN_HASH) {
    const steps = selection.indices.map((index, k, all) => index - (k && all[k - 1]));
    values.selected = steps.map((step) => step.toString(36)).join(".");
  }
  return HASH_START + new URLSearchParams(values);
}

// The state in a hash, as far as it is valid; null if the hash is not one of the explorer's.
function stateIn(hash, space) {
  if (!hash.startsWith(HASH_START)) return null;
  const values = new URLSearchParams(hash.slice(HASH_START.length));
  const numbers = (name, length) => {
    const list = (values.get(name) ?? "").split(",").map((text) => (text === "" ? NaN : Number(text)));
    return list.length === length && list.every(Number.isFinite) ? list : null;
  };
  const oneOf = (name, allowed) => (allowed.includes(values.get(name)) ? values.get(name) : undefined);
  const state = {
    colour: oneOf("colour", ["weight", "count", "cluster", "selection"]),
    metric: oneOf("metric", ["cosine", "euclidean"]),
    output: space.labels.indexOf(values.get("label")),
    search: (values.get("search") ?? "").slice(0, 500),
    isRegex: values.get("regex") === "1",
    isolate: values.get("isolate") === "1",
    sized: values.get("sized") !== "0",
    lines: values.get("lines") !== "0",
    word: values.has("word") ? space.indexOf(values.get("word")) : -1,
    camera: numbers("camera", 6),
  };
  if (values.has("from") && values.has("to")) {
    state.axis = [values.get("from"), values.get("to")].map((text) => text.slice(0, 500));
  }
  const dims = oneOf("dims", ["2", "3"]);
  if (dims) state.dims = Number(dims);
  const n = Number(values.get("n"));
  if (Number.isInteger(n) && n >= 1 && n <= 200) state.n = n;
  const axisOf = (text) => (text === "words" ? text : Number(text || NaN));
  const axes = (values.get("axes") ?? "").split(",").map(axisOf);
  const isComponent = (axis) => Number.isInteger(axis) && axis >= 0 && axis < Math.max(3, space.components);
  if (axes.length === 3 && axes.every((axis) => axis === "words" || isComponent(axis))) state.axes = axes;
  if (!(state.output >= 0 && state.output < space.outputs && space.outputs > 1)) delete state.output;
  if (state.camera && !(state.camera[2] > 0)) state.camera = null;
  let last = 0;
  const steps = (values.get("selected") ?? "").split(".").filter(Boolean).slice(0, SELECTED_IN_HASH);
  state.selected = steps.map((text) => {
    last += parseInt(text, 36);
    return last;
  }).filter((index) => index >= 0 && index < space.length);
  for (const name of Object.keys(state)) if (state[name] === undefined) delete state[name];
  return state;
}
