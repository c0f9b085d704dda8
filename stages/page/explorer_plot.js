// The plot of an explorer: where the points are, how they look, and the camera.

const SLOW = 40; // milliseconds between a request for a frame and the frame
const POINTS_AT_LEAST = 5000;

class Plot {
  // Draws with WebGL2 if there is any; else with a 2-D canvas, in two dimensions.
  startView() {
    try {
      this.view = new GlView(this.part("points"), () => this.fallBack());
    } catch {
      this.fallBack();
    }
  }

  // A canvas that had a WebGL2 context cannot have another one, so it is replaced.
  fallBack() {
    const canvas = this.part("points").cloneNode();
    this.part("points").replaceWith(canvas);
    this.controls.parts.points = canvas;
    this.view = new CanvasView(canvas);
    this.isFallback = true;
    this.part("fallback").hidden = false;
    this.part("fallback").textContent = `This browser offers no WebGL2: the plot is flat and shows at most `
      + `${whole(CANVAS_LIMIT)} words. Search and neighbours cover all ${whole(this.space.length)}.`;
    this.state.dims = 2;
    if (this.points) this.setDims(2);
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.part("overlay");
    if (!width || !height) return;
    const isFirst = !this.ratio;
    this.ratio = Math.min(3, devicePixelRatio || 1);
    for (const canvas of [this.part("points"), this.part("overlay")]) {
      canvas.width = Math.round(width * this.ratio);
      canvas.height = Math.round(height * this.ratio);
    }
    Object.assign(this.camera, { width, height });
    const restored = this.restoredCamera;
    this.style();
    if (isFirst) this.fit(false);
    if (isFirst && restored) this.setCamera(restored);
    this.drawNow();
  }

  // The name of an axis with its share of the variance.
  axisName(axis) {
    if (axis === "words") return this.state.axis ? `${this.state.axis[0]} → ${this.state.axis[1]}` : "words";
    const share = this.space.explained[axis];
    const name = this.camera.width < 560 ? "PC" : "Component";
    return share === undefined ? "none" : `${name} ${axis + 1} · ${(100 * share).toFixed(1)} %`;
  }

  // Places all points on the chosen axes, at about -1 to 1.
  layout() {
    const { space, state } = this;
    const columns = state.axes.map((axis) => (axis === "words" ? this.axisValues : space.coordinate(axis)));
    if (state.dims === 2) columns[2] = new Float32Array(space.length);
    const lengths = sample(Array.from({ length: space.length }, (_, row) => row), 4000).map(
      (row) => Math.hypot(...columns.map((column) => column[row])),
    );
    const unit = robustMaximum(lengths);
    this.points = new Float32Array(3 * space.length);
    columns.forEach((column, k) => {
      for (let row = 0; row < space.length; row += 1) this.points[3 * row + k] = column[row] / unit;
    });
    this.view.place(this.points);
  }

  // Colours and sizes of all points. A point of size 0 is hidden.
  style() {
    const { space, state, theme, selection } = this;
    const isIsolated = state.isolate && selection.indices.length > 0;
    const isDimmed = selection.indices.length > 0 && !isIsolated;
    const shown = isIsolated ? selection.indices.length : space.length;
    const area = this.camera.width * this.camera.height;
    const room = Math.max(0.7, Math.min(1.2, Math.sqrt(area / 5e5))); // smaller points on a phone
    const base = room * Math.max(3, Math.min(9, 14 - 2.2 * Math.log10(shown + 1)));
    const { palette, numberOf, hollow = -1 } = colouring(space, theme, state, selection.set);
    const dimmed = palette.map((colour) => mix(colour, theme.paper, 0.72));
    const top = Math.log(1 + Math.max(1, largest(space.count)));
    const [colours, sizes] = [new Uint8Array(4 * space.length), new Float32Array(space.length)];
    let limit = this.isFallback ? CANVAS_LIMIT : Infinity;
    for (let row = 0; row < space.length; row += 1) {
      const isSelected = selection.set.has(row);
      if (isIsolated && !isSelected) continue;
      if (limit <= 0 && !(isSelected && selection.indices.length <= CANVAS_LIMIT)) continue;
      limit -= 1;
      const factor = state.sized ? 0.7 + 1.4 * (Math.log(1 + space.count[row]) / top) ** 2 : 1;
      sizes[row] = base * factor * (isSelected && isDimmed ? 1.3 : 1);
      const number = numberOf(row);
      const [red, green, blue] = (isDimmed && !isSelected ? dimmed : palette)[number];
      colours[4 * row] = red;
      colours[4 * row + 1] = green;
      colours[4 * row + 2] = blue;
      colours[4 * row + 3] = (isSelected ? IN_FRONT : 0) + (number <= hollow ? HOLLOW : 0);
    }
    this.sizes = sizes;
    this.shownSizes = new Float32Array(space.length);
    this.view.style(colours, sizes);
  }

  // Draws once before the next frame of the screen. Nothing is drawn while nothing changes.
  draw() {
    this.requested ??= performance.now();
    this.pending ??= requestAnimationFrame(() => this.drawNow());
  }

  // How many points are drawn: all at rest. While the camera moves, a machine that is too slow for all of
  // them draws as many as it can, the most frequent words. A frame that comes late shows that it is too slow.
  pointsToDraw() {
    const delay = performance.now() - (this.requested ?? Infinity);
    this.requested = null;
    if (!this.isMoving) return this.space.length;
    if (delay > SLOW) this.budget = Math.max(Math.min(POINTS_AT_LEAST, this.budget), this.budget * 0.75);
    else if (delay > 0 && delay < SLOW / 2) this.budget = Math.min(this.space.length, this.budget * 1.1);
    return Math.ceil(this.budget);
  }

  drawNow() {
    cancelAnimationFrame(this.pending);
    this.pending = null;
    const { camera, theme, state, ratio, sizes, shownSizes } = this;
    if (!ratio || !sizes) return;
    this.view.draw(camera, ratio, theme.paper, state.dims, this.pointsToDraw());
    const { width, height } = camera;
    this.pixels = projected(this.points, camera.matrix(), width, height, this.pixels);
    for (let row = 0; row < sizes.length; row += 1) {
      const size = sizes[row] * Math.sqrt(camera.home / Math.max(0.001, this.pixels.w[row]));
      shownSizes[row] = size && Math.min(40, Math.max(1.5, size));
    }
    const { offsetLeft, offsetTop, offsetWidth, offsetHeight } = this.part("tools");
    this.overlay.draw({
      blocked: [[offsetLeft, offsetTop, offsetWidth, offsetHeight]],
      width, height, ratio, theme, camera, dims: state.dims, pixels: this.pixels, sizes: shownSizes,
      axes: state.axes.map((axis) => this.axisName(axis)), focus: this.focus, hover: this.hover,
      selection: this.selection.indices, outline: this.input.outline,
      lines: state.lines && this.selection.source === "neighbours" ? this.selection.indices : [],
    });
    this.element.dataset.ready = "true";
  }

  // The camera at which all shown words are in view.
  fit(isSmooth = true) {
    if (this.state.dims === 2) Object.assign(this.camera, STRAIGHT);
    const shown = Array.from(this.sizes?.keys() ?? []).filter((row) => this.sizes[row] > 0);
    const { distance, target } = this.camera.fitting(this.points, shown, this.state.dims);
    this.camera.home = distance;
    this.fly({ distance, target }, isSmooth);
  }

  zoomBy(factor) {
    this.camera.approach(factor);
    this.moved();
  }

  // Moves the camera in a fifth of a second, or at once for readers who prefer that.
  fly(end, isSmooth = true) {
    const { camera } = this;
    const start = { distance: camera.distance, target: camera.target };
    cancelAnimationFrame(this.flight);
    if (!isSmooth || !this.element.dataset.ready || matchMedia("(prefers-reduced-motion: reduce)").matches) {
      Object.assign(camera, end);
      this.moved();
      return;
    }
    let began = null;
    const step = (time) => {
      began ??= time;
      const part = Math.min(1, (time - began) / 220);
      const eased = part * part * (3 - 2 * part);
      camera.distance = start.distance * (end.distance / start.distance) ** eased;
      camera.target = start.target.map((value, k) => value + (end.target[k] - value) * eased);
      if (part < 1) this.flight = requestAnimationFrame(step);
      else Object.assign(camera, end);
      this.moved();
    };
    this.flight = requestAnimationFrame(step);
  }

  // Moves the camera to a word that is outside the picture.
  reveal(index) {
    if (!this.pixels || this.state.isolate) return;
    const { x, y, w } = this.pixels;
    const { width, height } = this.camera;
    const isWithin = (value, length) => value > 10 && value < length - 10;
    const isInside = w[index] > 0 && isWithin(x[index], width) && isWithin(y[index], height);
    if (!isInside) this.fly({ distance: this.camera.distance, target: this.place(index) });
  }

  place(index) {
    return Array.from(this.points.subarray(3 * index, 3 * index + 3));
  }

  setCamera([yaw, pitch, distance, ...target]) {
    cancelAnimationFrame(this.flight);
    Object.assign(this.camera, { yaw, pitch, distance, target });
    if (this.state.dims === 2) Object.assign(this.camera, STRAIGHT);
    this.draw();
  }
}
