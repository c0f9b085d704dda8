// Type a review: the model answers as one types.

const EXAMPLES = [
  "A warm, funny film with a wonderful cast. The ending is a little long, but I would gladly see it again.",
  "I wanted to like it. The story goes nowhere, the jokes are tired, and after an hour I was bored.",
  "Not bad at all: the music is great, even if the plot makes no sense.",
];
const SHOWN_LABELS = 8; // bars; the other labels share one line
const SHOWN_TOKENS = 1000; // tokens in colour: more would make typing slow
const SHOWN_SUMS = 10; // strongest words and n-grams
const SHOWN_CHARACTERS = 60; // of a longer label or n-gram
const READ_CHARACTERS = 200_000; // of a longer text
const SLOW_ANSWER = 40; // milliseconds: if an answer takes longer, the next one waits until nobody types
const PAUSE = [300, 1200]; // milliseconds without typing before a slow answer, and before it is read aloud

// Starts the part of the page in `element`, with the model in the element `data`.
async function scorerOf(element, data) {
  const parts = Object.fromEntries(
    Array.from(element.querySelectorAll("[data-part]"), (part) => [part.dataset.part, part]),
  );
  try {
    await new Promise((resolve) => setTimeout(resolve)); // the page is shown first
    const model = scorerModel(await unpack(data));
    fillLabels(parts, model.labels);
    parts.whole.textContent = wholeModel(model.config.facts);
    parts.body.hidden = false;
    listenToText(parts, model);
  } catch (error) {
    parts.problem.textContent = `The model could not be read. A newer browser may help. (${error.message})`;
    parts.problem.hidden = false;
  }
}

// Answers now and after every change.
function listenToText(parts, model) {
  const state = { scored: null, duration: 0, timers: [0, 0], frame: 0, example: 0 };
  const show = () => {
    const start = performance.now();
    state.scored = model.score(parts.text.value.slice(0, READ_CHARACTERS));
    showAnswer(parts, model, state.scored);
    if (parts.text.value.length > READ_CHARACTERS) {
      parts.notes.append(` Only the first ${asCount(READ_CHARACTERS)} characters are read.`);
    }
    showEvidence(parts, model, state.scored);
    state.duration = performance.now() - start;
  };
  const changed = () => {
    cancelAnimationFrame(state.frame);
    state.timers.forEach(clearTimeout);
    if (state.duration < SLOW_ANSWER) state.frame = requestAnimationFrame(show);
    else state.timers[0] = setTimeout(show, PAUSE[0]);
    state.timers[1] = setTimeout(() => announceAnswer(parts, model, state.scored), PAUSE[1]);
  };
  const replace = (text) => {
    parts.text.value = text;
    changed();
  };
  parts.text.addEventListener("input", changed);
  parts.of.addEventListener("change", () => showEvidence(parts, model, state.scored));
  parts.clear.addEventListener("click", () => {
    replace("");
    parts.text.focus();
  });
  parts.example.addEventListener("click", () => {
    state.example = (state.example + 1) % EXAMPLES.length;
    replace(EXAMPLES[state.example]);
  });
  parts.text.value ||= EXAMPLES[0]; // a browser may restore what was typed before
  show();
}

// Tells screen readers the answer.
function announceAnswer(parts, model, scored) {
  const { label, probabilities } = scored;
  parts.status.textContent = `${shortText(model.labels[label])}, ${asPercent(probabilities[label])}`;
}

// The choices of the label that the evidence is for.
function fillLabels(parts, labels) {
  const options = [["", "the predicted label"], ...labels.map((label, number) => [number, shortText(label)])];
  for (const [value, text] of options) parts.of.append(textElement("option", text, { value }));
}

// The label, its probability, and a bar for each label.
function showAnswer(parts, model, { label, probabilities, tokens, known, dropped }) {
  parts.label.textContent = shortText(model.labels[label]);
  parts.probability.textContent = asPercent(probabilities[label]);
  const order = probabilities.map((_, number) => number);
  if (order.length > SHOWN_LABELS) order.sort((a, b) => probabilities[b] - probabilities[a]);
  const shown = order.slice(0, SHOWN_LABELS);
  const bars = shown.map((number) => labelBar(model.labels[number], probabilities[number], number === label));
  const rest = order.slice(SHOWN_LABELS);
  if (rest.length) {
    const sum = rest.reduce((total, number) => total + probabilities[number], 0);
    bars.push(labelBar(`${rest.length} other labels`, sum, false));
  }
  parts.bars.replaceChildren(...bars);
  parts.notes.textContent = answerNotes(model.config, model.labels, tokens.length, known, dropped);
}

// One label with its probability.
function labelBar(label, probability, isPredicted) {
  const item = document.createElement("li");
  item.className = isPredicted ? "scorer-predicted" : "";
  const line = textElement("span", "", { className: "scorer-bar" });
  const filled = document.createElement("span");
  filled.style.width = `${100 * probability}%`;
  line.append(filled);
  const value = textElement("span", asPercent(probability), { className: "number" });
  item.append(textElement("bdi", shortText(label)), value, line);
  return item;
}

// What there is to know about this answer.
function answerNotes({ tokeniser, width, keep, threshold }, labels, count, known, dropped) {
  const unit = { words: "words", characters: "characters", subwords: "pieces of words" }[tokeniser.unit];
  const lines = [`${asCount(known)} of ${asCount(count)} ${unit} are in the vocabulary.`];
  if (!count) lines[0] = "Without a text, the model answers with what is usual in its training texts.";
  const kept = { head: "first", tail: "last", both: "first and last" }[keep];
  if (dropped) {
    lines.push(`The model reads the ${kept} ${asCount(width)} only; ${asCount(dropped)} were cut off.`);
  }
  if (labels.length === 2 && threshold !== 0.5) {
    lines.push(`It answers ${shortText(labels[1])} from a probability of ${asPercent(threshold)} on.`);
  }
  return lines.join(" ");
}

// The tokens in colour, and the sum of the contributions.
function showEvidence(parts, model, scored) {
  const number = parts.of.value === "" ? scored.label : Number(parts.of.value);
  const explanation = scored.explain(number);
  parts.legend.hidden = !explanation.contributions;
  showTokens(parts, model, scored, explanation);
  const rows = sumRows(scored, explanation, model.config.tokeniser.unit === "characters" ? "" : " ");
  const { temperature } = model.config;
  const probability = asPercent(scored.probabilities[number]);
  const isScaled = Math.abs(temperature - 1) >= 0.0005;
  const scale = isScaled ? `, divided by ${temperature.toFixed(2)} (calibration)` : "";
  const total = `score of ${shortText(model.labels[number])}${scale}: a probability of ${probability}`;
  parts.sum.replaceChildren(
    ...rows.map(([value, text]) => sumRow(value, text)),
    sumRow(explanation.logit, total, "scorer-total"),
  );
}

// Each token with the contributions of its word and of the n-grams around it.
function showTokens(parts, model, { tokens, isKnown }, { contributions }) {
  const values = new Float64Array(tokens.length);
  for (const { start, end, value } of contributions ?? []) {
    for (let position = start; position < end; position++) values[position] += value / (end - start);
  }
  const shown = tokens.slice(0, SHOWN_TOKENS);
  const highest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-9);
  const separator = model.config.tokeniser.unit === "characters" ? "" : " ";
  const spans = shown.flatMap((token, position) => (
    [tokenSpan(token, values[position] / highest, isKnown(position)), separator]
  ));
  parts.tokens.replaceChildren(...spans);
  parts.hidden.hidden = shown.length === tokens.length;
  parts.hidden.textContent = `The first ${asCount(shown.length)} of ${asCount(tokens.length)} are shown.`;
}

// A token; `strength` is between -1 and 1.
function tokenSpan(token, strength, isKnown) {
  const span = textElement("span", shortText(token), { className: "scorer-token" });
  if (!isKnown) span.classList.add("scorer-unknown");
  if (Math.abs(strength) > 0.05) {
    span.classList.add(strength > 0 ? "scorer-for" : "scorer-against");
    span.style.setProperty("--strength", Math.abs(strength).toFixed(2));
  }
  return span;
}

// The lines [value, text] of the sum: the strongest words and n-grams, all others, and the bias.
function sumRows({ tokens }, { contributions, bias, logit }, separator) {
  if (!contributions) {
    return [[logit - bias, "all words together: the model takes maxima, which have no parts"], [bias, "bias"]];
  }
  const sums = new Map(); // by text: the sum over its positions, and their number
  for (const { start, end, value } of contributions) {
    const text = end - start > 1 ? tokens.slice(start, end).join(separator) : tokens[start];
    const entry = sums.get(text) ?? { value: 0, count: 0 };
    entry.value += value;
    entry.count++;
    sums.set(text, entry);
  }
  const ordered = [...sums].sort(([, a], [, b]) => Math.abs(b.value) - Math.abs(a.value));
  const rows = ordered.slice(0, SHOWN_SUMS).map(([text, { value, count }]) => (
    [value, count > 1 ? `${shortText(text)} (${asCount(count)} times)` : shortText(text)]
  ));
  const others = ordered.slice(SHOWN_SUMS);
  if (others.length) {
    const sum = others.reduce((total, [, { value }]) => total + value, 0);
    rows.push([sum, `${asCount(others.length)} other words and n-grams`]);
  }
  return [...rows, [bias, "bias"]];
}

// A line of the sum.
function sumRow(value, text, className = "") {
  const row = textElement("tr", "", { className });
  const kind = value >= 0.0005 ? "for" : value <= -0.0005 ? "against" : "";
  const cell = document.createElement("td");
  cell.append(textElement("bdi", text));
  row.append(textElement("td", signedScore(value), { className: `number ${kind}` }), cell);
  return row;
}

// What the page has of the model.
function wholeModel({ words, ngrams, letters, complete, reviews, accuracy, accuracy_here: here, changed }) {
  const parts = [[words, "words"], [ngrams, "n-grams of words"], [letters, "n-grams of letters"]]
    .filter(([[, all]]) => all);
  if (complete) {
    const sizes = parts.map(([[count], name]) => `${asCount(count)} ${name}`).join(", ");
    return `This is the whole model that the report is about: ${sizes}. Only its weights are rounded, which`
      + " changes a probability by less than 0.001.";
  }
  const left = parts.map(([[count, all], name]) => `${asCount(count)} of ${asCount(all)} ${name}`).join(", ");
  return `To keep the page small, it has a part of the model: ${left}. On the ${asCount(reviews)} test reviews`
    + ` this part has an accuracy of ${asPercent(here, 2)}, and the whole model ${asPercent(accuracy, 2)};`
    + ` ${asPercent(changed, 2)} of the predictions differ.`;
}

// An element with a text and other properties.
function textElement(name, text, properties = {}) {
  return Object.assign(document.createElement(name), { textContent: text }, properties);
}

// The beginning of a long text.
function shortText(text) {
  const points = text.length > SHOWN_CHARACTERS ? Array.from(text.slice(0, 2 * SHOWN_CHARACTERS)) : [];
  return points.length > SHOWN_CHARACTERS ? `${points.slice(0, SHOWN_CHARACTERS - 1).join("")}…` : text;
}

function asPercent(share, digits = 1) {
  return `${(100 * share).toFixed(digits)} %`;
}

function asCount(count) {
  return count.toLocaleString("en");
}

function signedScore(value) {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
}
