// The points, drawn on a 2-D canvas, where there is no WebGL2. It has the methods of GlView.

const CANVAS_LIMIT = 2000; // points, the most frequent words

class CanvasView {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
  }

  place(points) {
    this.points = points;
  }

  style(colours, sizes) {
    Object.assign(this, { colours, sizes });
  }

  draw(camera, ratio, paper) {
    const { context, canvas, colours, sizes } = this;
    if (!context || !this.points) return;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = `rgb(${paper.join(" ")})`;
    context.fillRect(0, 0, canvas.width, canvas.height);
    const { x, y, w } = projected(this.points, camera.matrix(), canvas.width, canvas.height);
    const order = Array.from(sizes.keys()).filter((row) => sizes[row] > 0 && w[row] > 0);
    order.sort((left, right) => colours[4 * left + 3] - colours[4 * right + 3] || right - left);
    for (const row of order) {
      const size = sizes[row] * Math.min(4, (camera.home / w[row]) ** 0.5) * ratio;
      context.fillStyle = `rgb(${colours.subarray(4 * row, 4 * row + 3).join(" ")})`;
      context.beginPath();
      context.arc(x[row], y[row], size / 2, 0, 2 * Math.PI);
      if (colours[4 * row + 3] & HOLLOW && size > 4 * ratio) {
        context.arc(x[row], y[row], 0.21 * size, 0, 2 * Math.PI, true);
      }
      context.fill();
    }
  }
}
