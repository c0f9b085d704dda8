// The colours of the points, and the legend that explains them.

// Eight colours that colour-blind readers can distinguish, after Okabe and Ito (2008), without black.
const QUALITATIVE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b3a300", "#8a7fd6"];

const SHADES = 200; // of a scale from the lowest to the highest value

// A mix of two colours of three numbers; 0: the first, 1: the second.
function mix(first, second, share) {
  return first.map((value, k) => Math.round(value + (second[k] - value) * share));
}

// A CSS colour as three numbers to 255: the browser paints one pixel with it.
function channels(colour) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) return [127, 127, 127];
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  return Array.from(context.getImageData(0, 0, 1, 1).data.subarray(0, 3));
}

// The colours of base.css, as they are now: {paper: [r, g, b], ...}.
function themeOf(element) {
  const probe = document.createElement("span");
  element.append(probe);
  const theme = {};
  for (const name of ["paper", "ink", "soft", "accent", "for", "against"]) {
    probe.style.color = `var(--${name}, ${name === "paper" ? "#fff" : "#333"})`;
    theme[name] = channels(getComputedStyle(probe).color);
  }
  theme.font = getComputedStyle(element).fontFamily;
  probe.remove();
  theme.neutral = mix(theme.paper, theme.soft, 0.5);
  return theme;
}

// The colour of a cluster; of more than eight, further ones are shades of the first eight.
function clusterColour(theme, cluster) {
  const base = channels(QUALITATIVE[cluster % QUALITATIVE.length]);
  return mix(base, theme.ink, Math.min(0.6, 0.3 * Math.floor(cluster / QUALITATIVE.length)));
}

// A robust maximum: 98 % of the values are not above it. 1 if they are all 0.
function robustMaximum(values) {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.ceil(sorted.length * 0.98) - 1] || sorted[sorted.length - 1] || 1;
}

// The colour of a weight between -1 and 1.
function weightColour(theme, weight) {
  const strength = Math.min(1, Math.abs(weight)) ** 0.75;
  return mix(theme.neutral, weight < 0 ? theme.against : theme.for, strength);
}

// A palette, and the number in it of each word's colour as a function of the word's index:
// {palette: [[r, g, b], ...], numberOf, hollow}. `colour` is weight, count, cluster or selection. Points
// whose colour has a number up to `hollow` are rings: the sign of a weight can be seen without colours.
function colouring(space, theme, { colour, output }, selected) {
  if (colour === "count") {
    const top = Math.log(Math.max(2, largest(space.count)));
    const [low, high] = countColours(theme);
    return {
      palette: Array.from({ length: SHADES + 1 }, (_, k) => mix(low, high, k / SHADES)),
      numberOf: (row) => Math.round((Math.log(Math.max(1, space.count[row])) / top) * SHADES),
    };
  }
  if (colour === "cluster") {
    return {
      palette: [...space.clusters.map((_, cluster) => clusterColour(theme, cluster)), theme.neutral],
      numberOf: (row) => Math.min(space.cluster[row], space.clusters.length),
    };
  }
  if (colour === "selection") {
    return { palette: [theme.neutral, theme.accent], numberOf: (row) => Number(selected.has(row)) };
  }
  const half = SHADES / 2;
  const step = half / weightRange(space, output);
  return {
    palette: Array.from({ length: SHADES + 1 }, (_, k) => weightColour(theme, (k - half) / half)),
    numberOf: (row) => Math.round(half + Math.max(-half, Math.min(half, space.weight(row, output) * step))),
    hollow: 0.9 * half,
  };
}

// The largest of some numbers, 0 if there are none.
function largest(values) {
  return values.reduce((left, right) => Math.max(left, right), 0);
}

// The colours of the lowest and the highest count.
function countColours(theme) {
  return [mix(theme.paper, theme.accent, 0.25), mix(theme.accent, theme.ink, 0.35)];
}

// The weight that has the full colour.
function weightRange(space, output) {
  space.ranges ??= [];
  space.ranges[output] ??= robustMaximum(
    Float64Array.from({ length: space.length }, (_, row) => Math.abs(space.weight(row, output))),
  );
  return space.ranges[output];
}

// The label that a positive weight is evidence for, and the one that a negative weight is evidence for.
function weightLabels(space, output) {
  const [first = "", second = ""] = space.labels;
  if (space.outputs <= 1) return { positive: second || "the label", negative: first || "other labels" };
  return { positive: space.labels[output], negative: "other labels" };
}

// The legend, as elements. `onselect` is called with the words of a cluster.
function legendOf(space, theme, state, onselect) {
  const css = (colour) => `rgb(${colour.join(" ")})`;
  const make = (tag, name, text = "") => {
    const element = document.createElement(tag);
    element.className = name;
    element.textContent = text;
    return element;
  };
  const bar = (colours, left, right, title) => {
    const strip = make("span", "explorer-strip");
    strip.style.background = `linear-gradient(to right, ${colours.map(css).join(", ")})`;
    const heading = make("span", "explorer-legend-title", title);
    return [heading, make("bdi", "", left), strip, make("bdi", "", right)];
  };
  if (state.colour === "count") {
    const least = space.count.reduce((left, right) => Math.min(left, right), Infinity);
    return bar(countColours(theme), whole(least), whole(largest(space.count)), "Count (log)");
  }
  if (state.colour === "cluster") {
    const list = make("ul", "explorer-clusters");
    space.clusters.forEach((name, cluster) => {
      const item = make("li", "");
      const button = make("button", "");
      const swatch = make("span", "explorer-swatch");
      swatch.style.background = css(clusterColour(theme, cluster));
      button.append(swatch, make("bdi", "", name || `cluster ${cluster + 1}`));
      button.type = "button";
      button.title = "Select the words of this cluster";
      button.addEventListener("click", () => onselect(cluster));
      item.append(button);
      list.append(item);
    });
    return [make("span", "explorer-legend-title", "Cluster"), list];
  }
  if (state.colour === "selection") {
    const key = (colour, text) => {
      const part = make("span", "explorer-key");
      const swatch = make("span", "explorer-swatch");
      swatch.style.background = css(colour);
      part.append(swatch, make("span", "", text));
      return part;
    };
    return [key(theme.accent, "selected"), key(theme.neutral, "other words")];
  }
  const { positive, negative } = weightLabels(space, state.output);
  const colours = [-1, -0.5, -0.2, 0, 0.2, 0.5, 1].map((weight) => weightColour(theme, weight));
  const top = weightRange(space, state.output);
  const parts = bar(colours, `− ${negative}`, `+ ${positive}`, "Weight");
  parts[2].title = `from −${top.toPrecision(2)} to +${top.toPrecision(2)}`;
  const shape = (name, weight) => {
    const swatch = make("span", `explorer-swatch ${name}`);
    swatch.style.color = css(weightColour(theme, weight));
    return swatch;
  };
  return [parts[0], shape("explorer-ring", -1), ...parts.slice(1, 3), shape("explorer-disc", 1), parts[3]];
}

// A count with separators of thousands.
function whole(value) {
  return new Intl.NumberFormat("en").format(value);
}

// A number with its sign and two decimals.
function signed(value) {
  const text = Math.abs(value).toFixed(2);
  return Number(text) === 0 ? text : `${value < 0 ? "−" : "+"}${text}`;
}
