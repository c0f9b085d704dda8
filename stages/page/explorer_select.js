// Pointers and keys on the plot: turn, pan, zoom, click, and draw a box or a lasso.

// Whether a point is inside a polygon: a ray from it crosses the edges an odd number of times.
function isInside(polygon, x, y) {
  let inside = false;
  for (let k = 0, last = polygon.length - 1; k < polygon.length; last = k, k += 1) {
    const [[x1, y1], [x2, y2]] = [polygon[k], polygon[last]];
    if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) inside = !inside;
  }
  return inside;
}

// The words whose points are inside a polygon.
function enclosed(polygon, pixels, sizes) {
  const indices = [];
  for (let row = 0; row < sizes.length; row += 1) {
    const isDrawn = sizes[row] > 0 && pixels.w[row] > 0;
    if (isDrawn && isInside(polygon, pixels.x[row], pixels.y[row])) indices.push(row);
  }
  return indices;
}

// The word whose point is closest to a pixel, at most `reach` pixels away; -1 if there is none.
function pick(x, y, pixels, sizes, reach = 12) {
  let [best, smallest] = [-1, Infinity];
  for (let row = 0; row < sizes.length; row += 1) {
    if (!(sizes[row] > 0) || pixels.w[row] <= 0) continue;
    const distance = Math.hypot(pixels.x[row] - x, pixels.y[row] - y);
    // Of points that cover each other, the one in front.
    const score = Math.max(0, distance - sizes[row] / 2) + pixels.w[row] / 1000;
    if (distance <= Math.max(reach, sizes[row] / 2) && score < smallest) [best, smallest] = [row, score];
  }
  return best;
}

class PlotInput {
  // `explorer` is what the input acts on, `surface` the element that receives it.
  constructor(explorer, surface) {
    Object.assign(this, { explorer, surface, mode: "move", pointers: new Map(), outline: [] });
    for (const [name, method] of Object.entries({
      pointerdown: this.down, pointermove: this.move, pointerup: this.up, pointercancel: this.cancel,
      pointerleave: this.leave, dblclick: this.enter, keydown: this.key,
    })) surface.addEventListener(name, method.bind(this));
    surface.addEventListener("wheel", this.wheel.bind(this), { passive: false });
    surface.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  at(event) {
    const box = this.surface.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  down(event) {
    this.surface.setPointerCapture(event.pointerId);
    this.surface.focus({ preventScroll: true });
    this.pointers.set(event.pointerId, this.at(event));
    this.start = this.at(event);
    this.isDrag = this.pointers.size > 1;
    if (this.pointers.size > 1) this.outline = [];
    else if (this.mode !== "move" && event.button === 0) this.outline = [this.start];
  }

  move(event) {
    const place = this.at(event);
    const last = this.pointers.get(event.pointerId);
    if (!last) {
      this.explorer.hoverAt(...place);
      return;
    }
    const before = [...this.pointers.values()];
    this.pointers.set(event.pointerId, place);
    if (Math.hypot(place[0] - this.start[0], place[1] - this.start[1]) > 4) this.isDrag = true;
    if (!this.isDrag) return;
    if (this.pointers.size > 1) this.pinch(before.slice(0, 2), [...this.pointers.values()].slice(0, 2));
    else if (this.outline.length) this.extend(place);
    else this.drag(place[0] - last[0], place[1] - last[1], event.shiftKey || event.buttons === 2);
  }

  // Turns, or pans with shift, with the right button and in 2-D.
  drag(dx, dy, isPan) {
    const { camera, state } = this.explorer;
    if (isPan || state.dims === 2) camera.pan(dx, dy);
    else camera.turn(-dx * 0.008, dy * 0.008);
    this.explorer.moved();
  }

  pinch([a, b], [c, d]) {
    const { camera } = this.explorer;
    const middle = ([x1, y1], [x2, y2]) => [(x1 + x2) / 2, (y1 + y2) / 2];
    const [from, to] = [middle(a, b), middle(c, d)];
    camera.pan(to[0] - from[0], to[1] - from[1]);
    const [wide, now] = [Math.hypot(a[0] - b[0], a[1] - b[1]), Math.hypot(c[0] - d[0], c[1] - d[1])];
    if (now > 0) camera.approach(wide / now, ...to);
    this.explorer.moved();
  }

  extend(place) {
    const [x, y] = this.outline[0];
    if (this.mode === "box") this.outline = [[x, y], [place[0], y], place, [x, place[1]]];
    else this.outline.push(place);
    this.explorer.draw();
  }

  up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    const { explorer, outline } = this;
    this.outline = [];
    if (this.isDrag && outline.length > 2) explorer.selectInside(outline, this.mode, event.shiftKey);
    else if (!this.isDrag && event.button === 0) explorer.clickAt(...this.at(event));
    else explorer.draw();
  }

  cancel(event) {
    this.pointers.delete(event.pointerId);
    this.outline = [];
    this.explorer.draw();
  }

  leave() {
    if (!this.pointers.size) this.explorer.hoverAt(-1e6, -1e6);
  }

  enter(event) {
    event.preventDefault();
    this.explorer.enterAt(...this.at(event));
  }

  // The wheel zooms once the plot has the focus, so that it does not hold up a reader who scrolls the page.
  wheel(event) {
    const isActive = this.explorer.options.wheel === "always" || document.activeElement === this.surface;
    if (!isActive && !event.ctrlKey) return;
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode ? 16 : 1);
    this.explorer.camera.approach(Math.exp(Math.max(-200, Math.min(200, pixels)) * 0.002), ...this.at(event));
    this.explorer.moved();
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const { camera } = this.explorer;
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key in arrows) {
      const [dx, dy] = arrows[event.key];
      const step = event.shiftKey || this.explorer.state.dims === 2 ? -30 : 16;
      this.drag(dx * step, dy * step, event.shiftKey);
    } else if (event.key === "+" || event.key === "=") camera.approach(0.85);
    else if (event.key === "-" || event.key === "_") camera.approach(1 / 0.85);
    else if (event.key === "0" || event.key === "Home") this.explorer.fit();
    else return;
    event.preventDefault();
    this.explorer.moved();
  }
}
