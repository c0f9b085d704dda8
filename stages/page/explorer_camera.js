// The camera: it orbits a target at a distance. In 2-D it does not turn, and all points are in its plane.

const FOCAL = 1 / Math.tan(Math.PI / 9); // an angle of view of 40 degrees over the smaller side
const STRAIGHT = { yaw: 0, pitch: 0 };
const TILTED = { yaw: 0.6, pitch: 0.35 };

class Camera {
  constructor() {
    Object.assign(this, TILTED, { distance: 3, target: [0, 0, 0], width: 1, height: 1 });
    this.home = 3; // the distance at which everything is in view
  }

  // How much closer the camera is than at the last fit.
  get zoom() {
    return this.home / this.distance;
  }

  // The right and up directions of the picture, and the direction towards the viewer.
  basis() {
    const [cy, sy] = [Math.cos(this.yaw), Math.sin(this.yaw)];
    const [cp, sp] = [Math.cos(this.pitch), Math.sin(this.pitch)];
    return { right: [cy, 0, sy], up: [sp * sy, cp, -sp * cy], back: [-cp * sy, sp, cp * cy] };
  }

  // World to clip coordinates, a matrix in column order. w is the distance from the eye.
  matrix() {
    const { right, up, back } = this.basis();
    const side = Math.min(this.width, this.height);
    const [fx, fy] = [(FOCAL * side) / this.width, (FOCAL * side) / this.height];
    const [closest, farthest] = [this.distance / 100, this.distance + 100];
    const a = (farthest + closest) / (farthest - closest);
    const b = (-2 * farthest * closest) / (farthest - closest);
    const along = (axis) => axis.reduce((sum, value, k) => sum + value * this.target[k], 0);
    const w = this.distance + along(back);
    const out = new Float32Array(16);
    for (let k = 0; k < 3; k += 1) {
      out.set([fx * right[k], fy * up[k], -a * back[k], -back[k]], 4 * k);
    }
    out.set([-fx * along(right), -fy * along(up), a * w + b, w], 12);
    return out;
  }

  turn(dx, dy) {
    this.yaw = (this.yaw + dx) % (2 * Math.PI);
    this.pitch = Math.max(-Math.PI / 2, Math.min(Math.PI / 2, this.pitch + dy));
  }

  // Moves what is at the target by (dx, dy) pixels.
  pan(dx, dy) {
    const step = (2 * this.distance) / (FOCAL * Math.min(this.width, this.height));
    const { right, up } = this.basis();
    this.target = this.target.map((value, k) => value - step * (dx * right[k] - dy * up[k]));
  }

  // Multiplies the distance by a factor; the pixel (x, y) of the target's plane stays where it is.
  approach(factor, x = this.width / 2, y = this.height / 2) {
    const distance = Math.max(this.home / 400, Math.min(this.home * 8, this.distance * factor));
    const share = 1 - distance / this.distance;
    this.pan((this.width / 2 - x) * share, (this.height / 2 - y) * share);
    this.distance = distance;
  }

  // The distance and target from which all points (indices) are in view: {distance, target}.
  fitting(points, indices, dims) {
    const target = [0, 0, 0];
    const extents = [0, 0, 0];
    const some = sample(indices, 4000);
    for (let k = 0; k < dims && some.length; k += 1) {
      const values = some.map((index) => points[3 * index + k]).sort((left, right) => left - right);
      const cut = Math.floor(values.length * 0.005);
      const [low, high] = [values[cut], values[values.length - 1 - cut]];
      target[k] = (low + high) / 2;
      extents[k] = (high - low) / 2;
    }
    const side = Math.min(this.width, this.height);
    const flat = Math.max((extents[0] * side) / this.width, (extents[1] * side) / this.height);
    const radius = dims === 3 ? 0.78 * Math.hypot(...extents) : 1.12 * flat;
    return { distance: FOCAL * Math.max(0.05, radius), target };
  }
}

// At most `limit` of the values, evenly spaced.
function sample(values, limit) {
  const step = Math.max(1, values.length / limit);
  return Array.from({ length: Math.min(values.length, limit) }, (_, k) => values[Math.floor(k * step)]);
}

// Pixel positions of points (3 V): {x, y, w} (V,) each. w <= 0: behind the eye. `into` is an earlier result,
// which is overwritten.
function projected(points, matrix, width, height, into = null) {
  const total = points.length / 3;
  const empty = () => new Float32Array(total);
  const { x, y, w } = into ?? { x: empty(), y: empty(), w: empty() };
  for (let row = 0; row < total; row += 1) {
    const px = points[3 * row];
    const py = points[3 * row + 1];
    const pz = points[3 * row + 2];
    const depth = matrix[3] * px + matrix[7] * py + matrix[11] * pz + matrix[15];
    w[row] = depth;
    x[row] = (0.5 + (matrix[0] * px + matrix[4] * py + matrix[8] * pz + matrix[12]) / depth / 2) * width;
    y[row] = (0.5 - (matrix[1] * px + matrix[5] * py + matrix[9] * pz + matrix[13]) / depth / 2) * height;
  }
  return { x, y, w };
}
