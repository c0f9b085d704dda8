// Downloads: the picture as PNG, coordinates and neighbours as CSV.

// A cell of a CSV file. A spreadsheet takes text that begins with = + - or @ for a formula: an apostrophe
// stops that. Numbers stay numbers.
function csvCell(value) {
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function csvOf(header, rows) {
  return [header, ...rows].map((row) => `${row.map(csvCell).join(",")}\r\n`).join("");
}

// Six significant digits, as a number.
function digits(value) {
  return Number(value.toPrecision(6));
}

// The words' coordinates on all components, with count, weights and cluster.
function coordinatesCsv(space, indices) {
  const components = Array.from({ length: space.components }, (_, k) => `pc${k + 1}`);
  const { positive } = weightLabels(space, 0);
  const weights = space.outputs > 1 ? space.labels.map((label) => `weight ${label}`) : [`weight ${positive}`];
  const columns = components.map((_, k) => space.coordinate(k));
  const rows = indices.map((row) => [
    space.words[row], space.count[row], ...weights.map((_, output) => digits(space.weight(row, output))),
    space.clusters[space.cluster[row]] ?? "", ...columns.map((column) => digits(column[row])),
  ]);
  return csvOf(["word", "count", ...weights, "cluster", ...components], rows);
}

// The neighbours of a word.
function neighboursCsv(space, index, neighbours, metric) {
  const header = ["word", "rank", "neighbour", metric === "euclidean" ? "distance" : "cosine", "count"];
  const rows = neighbours.map(({ index: row, score }, k) => [
    space.words[index], k + 1, space.words[row], digits(score), space.count[row],
  ]);
  return csvOf(header, rows);
}

// Two canvases as one picture, in a blob.
function pngOf(below, above) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [below.width, below.height];
  const context = canvas.getContext("2d");
  for (const layer of [below, above]) context.drawImage(layer, 0, 0);
  return new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
}

// Offers a blob as a file.
function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function downloadCsv(text, name) {
  download(new Blob([text], { type: "text/csv" }), name);
}
