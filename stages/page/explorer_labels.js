// The overlay above the points: axes, lines to neighbours, rings, and labels that do not cover each other.

const CELL = 6; // pixels: the grid in which labels occupy cells
const SCANNED = 6000; // words at most that a frame considers for labels

// The point closest to the end of a line at which the line is inside the picture; the end if it never is.
function within(x0, y0, x1, y1, width, height) {
  for (let part = 1; part > 0; part -= 0.02) {
    const [x, y] = [x0 + (x1 - x0) * part, y0 + (y1 - y0) * part];
    if (x > 8 && x < width - 56 && y > 12 && y < height - 12) return [x, y];
  }
  return [x1, y1];
}

class Overlay {
  constructor(canvas, space) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.space = space;
    this.widths = new Map();
    this.texts = new Map();
    this.placed = []; // of the last frame: {index, x, y, width, height}
    const strength = Float64Array.from(space.count, (count, row) => count * space.strength(row));
    this.order = Uint32Array.from({ length: space.length }, (_, row) => row);
    this.order.sort((left, right) => strength[right] - strength[left] || left - right);
  }

  // The text of a label: a long word is cut, and control characters are shown as spaces.
  text(index) {
    if (!this.texts.has(index)) {
      const word = this.space.words[index].replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, " ");
      const letters = Array.from(word);
      this.texts.set(index, letters.length > 24 ? `${letters.slice(0, 23).join("")}…` : word);
    }
    return this.texts.get(index);
  }

  // Draws a frame. `scene`: {width, height, ratio, theme, blocked, pixels, sizes, axes, dims, camera, focus,
  // hover, selection, lines, outline}; sizes are in pixels.
  draw(scene) {
    const { context, canvas } = this;
    if (!context) return;
    context.setTransform(scene.ratio, 0, 0, scene.ratio, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    this.css = (name, alpha = 1) => `rgb(${scene.theme[name].join(" ")} / ${alpha})`;
    this.blocked = [...scene.blocked];
    this.drawAxes(scene);
    this.drawLines(scene);
    this.drawRings(scene);
    this.drawLabels(scene);
    if (scene.outline.length > 1) this.drawOutline(scene.outline);
  }

  // In 3-D three lines through the target's origin; in 2-D the names at the edges.
  drawAxes({ axes, dims, camera, width, height, theme }) {
    const { context } = this;
    context.font = `12px ${theme.font}`;
    if (dims === 2) {
      this.write(`${axes[0]} →`, width / 2, height - 14, "soft", "center");
      this.blocked.push([width / 2 - 80, height - 21, 160, 14], [7, height / 2 - 80, 14, 160]);
      context.save();
      context.translate(14, height / 2);
      context.rotate(-Math.PI / 2);
      this.write(`${axes[1]} →`, 0, 0, "soft", "center");
      context.restore();
      return;
    }
    const ends = new Float32Array(18);
    for (let k = 0; k < 3; k += 1) [ends[6 * k + k], ends[6 * k + 3 + k]] = [-1.1, 1.1];
    const { x, y, w } = projected(ends, camera.matrix(), width, height);
    for (let k = 0; k < 3; k += 1) {
      const [start, end] = [2 * k, 2 * k + 1];
      if (w[start] <= 0.01 || w[end] <= 0.01) continue;
      context.lineWidth = 1;
      context.strokeStyle = this.css("soft", 0.4);
      context.beginPath();
      context.moveTo(x[start], y[start]);
      context.lineTo(x[end], y[end]);
      context.stroke();
      const isLeft = x[end] < x[start];
      const [nameX, nameY] = within(x[start], y[start], x[end], y[end], width, height);
      const half = context.measureText(axes[k]).width / 2;
      const middle = nameX + (isLeft ? -5 - half : 5 + half);
      const left = Math.max(half + 8, Math.min(width - half - 56, middle));
      const top = Math.max(12, Math.min(height - 12, nameY));
      this.write(axes[k], left, top, "soft", "center");
      this.blocked.push([left - half, top - 7, 2 * half, 14]);
    }
  }

  // Text with a halo in the colour of the paper.
  write(text, x, y, colour, align = "left") {
    const { context } = this;
    context.textAlign = align;
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = 3;
    context.strokeStyle = this.css("paper", 0.85);
    context.strokeText(text, x, y);
    context.fillStyle = this.css(colour);
    context.fillText(text, x, y);
  }

  drawLines({ lines, focus, pixels, sizes }) {
    const { context } = this;
    if (focus < 0 || !lines.length || pixels.w[focus] <= 0) return;
    context.strokeStyle = this.css("accent", 0.55);
    context.lineWidth = 1;
    context.beginPath();
    for (const index of lines) {
      if (sizes[index] > 0 && pixels.w[index] > 0) {
        context.moveTo(pixels.x[focus], pixels.y[focus]);
        context.lineTo(pixels.x[index], pixels.y[index]);
      }
    }
    context.stroke();
  }

  drawRings({ focus, hover, pixels, sizes }) {
    const { context } = this;
    for (const [index, colour] of [[hover, "ink"], [focus, "accent"]]) {
      if (index < 0 || !(sizes[index] > 0) || pixels.w[index] <= 0) continue;
      context.strokeStyle = this.css(colour);
      context.lineWidth = 2;
      context.beginPath();
      context.arc(pixels.x[index], pixels.y[index], sizes[index] / 2 + 4, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  // Labels the most important words first: the focus, the selection, those of the last frame (so that labels
  // do not flicker as the picture turns), then by count times weight. None covers another.
  drawLabels({ width, height, pixels, sizes, camera, focus, hover, selection, theme }) {
    const { context } = this;
    const [columns, rows] = [Math.ceil(width / CELL) + 1, Math.ceil(height / CELL) + 1];
    const occupied = new Uint8Array(columns * rows);
    for (const [left, top, wide, tall] of this.blocked) {
      const column = (x) => Math.max(0, Math.min(columns - 1, Math.floor(x / CELL)));
      const [c0, c1] = [column(left), column(left + wide)];
      const last = Math.min(rows - 1, Math.floor((top + tall) / CELL));
      for (let r = Math.max(0, Math.floor(top / CELL)); r <= last; r += 1) {
        occupied.fill(1, r * columns + c0, r * columns + c1 + 1);
      }
    }
    const limit = Math.min(220, (width * height) / 5500) * Math.max(1, Math.min(2, camera.zoom));
    const before = this.placed.map(({ index }) => index);
    const others = selection.length ? [] : before;
    const done = new Set();
    this.placed = [];
    const consider = (index) => {
      if (index < 0 || done.has(index) || this.placed.length >= limit) return;
      done.add(index);
      const [x, y] = [pixels.x[index], pixels.y[index]];
      if (!(sizes[index] > 0) || pixels.w[index] <= 0 || x < 0 || y < 0 || x > width || y > height) return;
      const isBold = index === focus || index === hover;
      const grid = { occupied, columns, rows, width, font: theme.font };
      const box = this.fit(index, x, y, sizes[index] / 2 + 3, isBold, selection.length > 0, grid);
      if (box) this.placed.push({ index, isBold, ...box });
    };
    [focus, hover, ...sample(selection, 400), ...others].forEach(consider);
    const scanned = selection.length ? 0 : Math.min(SCANNED, this.order.length);
    for (let rank = 0; rank < scanned && this.placed.length < limit; rank += 1) consider(this.order[rank]);
    for (const { index, isBold, x, y, height: tall } of this.placed) {
      context.font = `${isBold ? 600 : 400} 12px ${theme.font}`;
      this.write(this.text(index), x, y + tall / 2, isBold ? "accent" : "ink");
    }
  }

  // A free box for a label beside its point, which it occupies: {x, y, width, height}. That of a selected
  // word may be above or below.
  fit(index, x, y, gap, isBold, isWanted, { occupied, columns, rows, width: right, font }) {
    const key = isBold ? -1 - index : index;
    if (!this.widths.has(key)) {
      this.context.font = `${isBold ? 600 : 400} 12px ${font}`;
      this.widths.set(key, Math.ceil(this.context.measureText(this.text(index)).width));
    }
    const width = this.widths.get(key);
    const height = 14;
    const [beside, above, below] = [y - height / 2, y - gap - height, y + gap];
    const middle = x - width / 2;
    const places = [[x + gap, beside], [x - gap - width, beside]];
    if (isWanted) places.push([middle, above], [middle, below]);
    for (const [left, top] of places) {
      if (left < 0 || left + width > right || top < 0) continue;
      const [c0, c1] = [Math.floor(left / CELL), Math.floor((left + width) / CELL)];
      const [r0, r1] = [Math.floor(top / CELL), Math.min(rows - 1, Math.floor((top + height) / CELL))];
      let isFree = true;
      for (let r = r0; r <= r1 && isFree; r += 1) {
        for (let c = c0; c <= c1 && isFree; c += 1) isFree = !occupied[r * columns + c];
      }
      if (!isFree) continue;
      for (let r = r0; r <= r1; r += 1) occupied.fill(1, r * columns + c0, r * columns + c1 + 1);
      return { x: left, y: top, width, height };
    }
    return null;
  }

  // The lasso or the box that is being drawn.
  drawOutline(outline) {
    const { context } = this;
    context.beginPath();
    outline.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.closePath();
    context.fillStyle = this.css("accent", 0.12);
    context.fill();
    context.setLineDash([5, 4]);
    context.lineWidth = 1.5;
    context.strokeStyle = this.css("accent");
    context.stroke();
    context.setLineDash([]);
  }
}
