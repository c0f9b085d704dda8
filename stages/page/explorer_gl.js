// The points, drawn by the graphics card: one WebGL2 program, one draw call.

const IN_FRONT = 128; // a point that is drawn before all others
const HOLLOW = 64; // a point that is a ring

const VERTEX_SHADER = `#version 300 es
in vec3 place;
in vec4 colour; // alpha: the sum of IN_FRONT and HOLLOW
in float size;
uniform mat4 matrix;
uniform float ratio, home;
uniform vec2 fog;
uniform vec3 paper;
out vec3 tint;
out float radius;
out float hole;
void main() {
  if (size <= 0.0) {
    gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
    gl_PointSize = 1.0;
    return;
  }
  vec4 clip = matrix * vec4(place, 1.0);
  int code = int(colour.a * 255.0 + 0.5);
  if (code >= ${IN_FRONT}) clip.z = -clip.w + 0.1 * (clip.z + clip.w);
  gl_Position = clip;
  gl_PointSize = clamp(size * sqrt(home / max(clip.w, 0.001)), 1.5, 40.0) * ratio;
  radius = gl_PointSize / 2.0;
  hole = (code & ${HOLLOW}) != 0 && radius > 2.0 * ratio ? 0.42 : 0.0;
  tint = mix(colour.rgb, paper, 0.45 * smoothstep(fog.x, fog.y, clip.w));
}`;

const FRAGMENT_SHADER = `#version 300 es
precision highp float;
in vec3 tint;
in float radius;
in float hole; // its radius, of a radius of 1
uniform vec3 paper;
out vec4 result;
void main() {
  float distance = length(2.0 * gl_PointCoord - 1.0);
  float inside = (1.0 - distance) * radius; // in pixels
  float alpha = clamp(inside, 0.0, 1.0);
  if (alpha < 0.05) discard;
  // A rim in the colour of the paper keeps neighbouring points apart.
  float rim = radius > 3.5 ? 1.0 - smoothstep(0.6, 1.8, inside) : 0.0;
  float open = hole > 0.0 ? clamp((hole - distance) * radius + 0.5, 0.0, 1.0) : 0.0;
  result = vec4(mix(tint, paper, max(0.55 * rim, 0.9 * open)) * alpha, alpha);
}`;

class GlView {
  // Throws if there is no WebGL2. `onlost` is called when the context is lost and not restored.
  constructor(canvas, onlost) {
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl2", { alpha: false, antialias: false, powerPreference: "low-power" });
    if (!this.gl) throw new Error("no WebGL2");
    this.begin();
    canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();
      this.isLost = true;
      this.timer = setTimeout(onlost, 3000);
    });
    canvas.addEventListener("webglcontextrestored", () => {
      clearTimeout(this.timer);
      this.isLost = false;
      try {
        this.begin();
      } catch {
        onlost();
        return;
      }
      if (this.points) {
        this.place(this.points);
        this.style(this.colours, this.sizes);
        this.draw(...this.last);
      }
    });
  }

  // Compiles the program and makes the buffers. Throws if the driver refuses.
  begin() {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [type, text] of [[gl.VERTEX_SHADER, VERTEX_SHADER], [gl.FRAGMENT_SHADER, FRAGMENT_SHADER]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error("the WebGL2 program does not link");
    gl.useProgram(program);
    this.uniforms = Object.fromEntries(["matrix", "ratio", "home", "fog", "paper"].map(
      (name) => [name, gl.getUniformLocation(program, name)],
    ));
    this.buffers = {};
    const attributes = [["place", 3, gl.FLOAT], ["colour", 4, gl.UNSIGNED_BYTE], ["size", 1, gl.FLOAT]];
    for (const [name, width, type] of attributes) {
      this.buffers[name] = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
      const slot = gl.getAttribLocation(program, name);
      gl.enableVertexAttribArray(slot);
      gl.vertexAttribPointer(slot, width, type, type === gl.UNSIGNED_BYTE, 0, 0);
    }
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.LEQUAL);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  fill(name, data) {
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.buffers[name]);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, data, this.gl.DYNAMIC_DRAW);
  }

  // Positions (3 V).
  place(points) {
    this.points = points;
    this.fill("place", points);
  }

  // Colours (4 V), uint8, and sizes (V,) in CSS pixels; a point of size 0 is not drawn.
  style(colours, sizes) {
    Object.assign(this, { colours, sizes });
    this.fill("colour", colours);
    this.fill("size", sizes);
  }

  // Draws the first `limit` points. `ratio` is the number of device pixels in a CSS pixel, `paper` three
  // numbers to 255.
  draw(camera, ratio, paper, dims, limit) {
    this.last = [camera, ratio, paper, dims, limit];
    const { gl, uniforms, canvas } = this;
    if (this.isLost || !this.points) return;
    const background = paper.map((value) => value / 255);
    const depth = dims === 3 ? Math.max(camera.home, camera.distance) : 1e6;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(...background, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.uniformMatrix4fv(uniforms.matrix, false, camera.matrix());
    gl.uniform1f(uniforms.ratio, ratio);
    gl.uniform1f(uniforms.home, camera.home);
    gl.uniform2f(uniforms.fog, camera.distance, camera.distance + depth * 0.5);
    gl.uniform3f(uniforms.paper, ...background);
    gl.drawArrays(gl.POINTS, 0, Math.min(limit, this.points.length / 3));
  }
}
