// The model, the video and its re-render on one clock: <v2m4-viewer data-view="{...}">.
//
// The page renders the element anew whenever what it shows changes; there is one stage (one WebGL context, one clock),
// which moves into the newest element. data-view: src, name, label, duration and times (s), keyframes and weak
// (indices into times), preview (address of the video of input and re-render side by side), content (width and height
// of the picture as shares of the square that the camera sees).
import {
  AnimationMixer, Box3, BufferAttribute, Color, DirectionalLight, DoubleSide, GLTFLoader, HemisphereLight,
  MeshBasicMaterial, MeshNormalMaterial, MeshStandardMaterial, OrbitControls, PerspectiveCamera, Scene, Sphere, Vector3,
  WebGLRenderer,
} from "./three.min.js";

const FOV_DEG = 40;
const PREVIEW_GAP_PX = 4;
const BOX_SAMPLES = 12;
const SURFACES = { textured: "Textured", clay: "Clay", normals: "Normals", wireframe: "Wireframe" };
const SPEEDS = [0.25, 0.5, 1, 2];
const SEEK_SLACK_S = 0.12;
const ICONS = {
  play: "M7 4.5v15l13-7.5z", pause: "M6 4.5h4.5v15H6zM13.5 4.5H18v15h-4.5z",
  loop: "M17 2.5l4 4-4 4V7.6H7.5v3H5.4V5.4H17zM7 21.5l-4-4 4-4v2.9h9.5v-3h2.1v5.2H7z",
  camera: "M9 4l-1.6 2.2H4.5A1.5 1.5 0 003 7.7v10.6A1.5 1.5 0 004.5 19.8h15a1.5 1.5 0 001.5-1.5V7.7a1.5 1.5 0 00-1.5-1.5h-2.9L15 4zm3 4.6a4.3 4.3 0 110 8.6 4.3 4.3 0 010-8.6z",
  video: "M3 6h12v12H3zM16.5 10l4.5-3v10l-4.5-3z",
  orbit: "M12 3a9 9 0 019 9h-2.2A6.8 6.8 0 0012 5.2V8L8 4.2 12 .5zM12 21a9 9 0 01-9-9h2.2A6.8 6.8 0 0012 18.8V16l4 3.8-4 3.7z",
};

const icon = (name) => `<svg viewBox="0 0 24 24" width="20" height="20" aria-hidden="true"><path fill="currentColor" d="${ICONS[name]}"/></svg>`;
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
const seconds = (t) => `${t.toFixed(2)} s`;

/** Smooth normals of a morphed mesh, for files that store those of the base only: seams are welded by position. */
function addMorphNormals(geometry) {
  const position = geometry.attributes.position, targets = geometry.morphAttributes.position;
  if (!targets || geometry.morphAttributes.normal || !geometry.index) return;
  const count = position.count, index = geometry.index.array;
  const welded = new Uint32Array(count), known = new Map();
  for (let i = 0; i < count; i++) {
    const key = `${position.getX(i)},${position.getY(i)},${position.getZ(i)}`;
    if (!known.has(key)) known.set(key, known.size);
    welded[i] = known.get(key);
  }
  const normalsAt = (target) => {
    const sums = new Float32Array(3 * known.size), p = [new Vector3(), new Vector3(), new Vector3()];
    const delta = new Vector3(), normal = new Vector3();
    for (let f = 0; f < index.length; f += 3) {
      for (let c = 0; c < 3; c++) {
        p[c].fromBufferAttribute(position, index[f + c]);
        if (target) p[c].add(delta.fromBufferAttribute(target, index[f + c]));
      }
      normal.crossVectors(p[1].sub(p[0]), p[2].sub(p[0]));
      for (let c = 0; c < 3; c++) {
        const at = 3 * welded[index[f + c]];
        sums[at] += normal.x; sums[at + 1] += normal.y; sums[at + 2] += normal.z;
      }
    }
    const result = new Float32Array(3 * count);
    for (let i = 0; i < count; i++) {
      const at = 3 * welded[i], length = Math.hypot(sums[at], sums[at + 1], sums[at + 2]) || 1;
      for (let c = 0; c < 3; c++) result[3 * i + c] = sums[at + c] / length;
    }
    return result;
  };
  const base = normalsAt(null);
  geometry.setAttribute("normal", new BufferAttribute(base, 3));
  geometry.morphAttributes.normal = targets.map((target) => {
    const turned = normalsAt(target);
    for (let i = 0; i < turned.length; i++) turned[i] -= base[i];
    return new BufferAttribute(turned, 3);
  });
}

class Stage {
  constructor() {
    this.root = document.createElement("div");
    this.root.className = "stage";
    this.root.innerHTML = `
      <div class="panes">
        <div class="pane model"><canvas role="img" aria-label="The 3D model"></canvas>
          <p class="badge" aria-live="polite"></p><p class="hint">The model appears here.</p>
          <div class="tools" role="toolbar" aria-label="How the model is shown">
            <select class="surface" aria-label="Surface">${Object.entries(SURFACES)
              .map(([key, word]) => `<option value="${key}">${word}</option>`).join("")}</select>
            <button type="button" class="as-video" title="Seen as the video's camera saw it" aria-label="The video's view">${icon("video")}</button>
            <button type="button" class="around" title="Seen from the side; drag to turn" aria-label="Free view">${icon("orbit")}</button>
            <button type="button" class="shot" title="Save this picture" aria-label="Save a picture">${icon("camera")}</button>
          </div></div>
        <div class="pane compare"><canvas role="img" aria-label="The video and the model as rendered, side by side"></canvas>
          <span class="side left">Video</span><span class="side right">Model</span>
          <input class="split" type="range" min="0" max="100" value="50" aria-label="Compare video and model"></div>
      </div>
      <div class="transport" role="group" aria-label="Playback">
        <button type="button" class="play"></button>
        <div class="line"><div class="marks" aria-hidden="true"></div>
          <input class="scrub" type="range" min="0" max="1" step="0.001" value="0" aria-label="Time"></div>
        <output class="clock"></output>
        <select class="speed" aria-label="Speed">${SPEEDS.map((s) => `<option value="${s}"${s === 1 ? " selected" : ""}>${s}×</option>`).join("")}</select>
        <button type="button" class="loop" aria-pressed="true" aria-label="Repeat" title="Repeat">${icon("loop")}</button>
      </div>`;
    const find = (name) => this.root.querySelector(name);
    this.canvas = find(".model canvas");
    this.parts = Object.fromEntries(
      ["badge", "hint", "tools", "surface", "split", "play", "scrub", "clock", "speed", "loop", "marks", "transport", "compare"]
        .map((name) => [name, find(`.${name}`)]));
    this.picture = find(".compare canvas");
    this.video = document.createElement("video");
    Object.assign(this.video, { muted: true, playsInline: true, preload: "auto" });
    this.time = 0; this.speed = 1; this.playing = false; this.looping = true; this.mode = "video"; this.surface = "textured";
    this.facts = {}; this.duration = 0; this.offset = 0; this.stale = true;
    this.listen(find);
    this.setUpScene();
    new ResizeObserver(() => this.resize()).observe(this.canvas.parentElement);
    const tick = (now) => { this.tick(now / 1000); requestAnimationFrame(tick); };
    requestAnimationFrame(tick);
  }

  listen(find) {
    const p = this.parts;
    p.play.addEventListener("click", () => this.play(!this.playing));
    p.scrub.addEventListener("input", () => { this.play(false); this.seek(Number(p.scrub.value)); });
    p.speed.addEventListener("change", () => { this.speed = Number(p.speed.value); this.video.playbackRate = this.speed; });
    p.loop.addEventListener("click", () => {
      this.looping = !this.looping;
      p.loop.setAttribute("aria-pressed", String(this.looping));
    });
    p.surface.addEventListener("change", () => this.show(p.surface.value));
    p.split.addEventListener("input", () => this.draw());
    this.picture.addEventListener("pointermove", (event) => {
      if (!event.buttons) return;
      const { clientWidth, clientHeight, width, height } = this.picture;
      const shown = width * Math.min(clientWidth / width, clientHeight / height);
      p.split.value = (100 * (event.offsetX - (clientWidth - shown) / 2)) / shown;
      this.draw();
    });
    find(".as-video").addEventListener("click", () => this.look("video"));
    find(".around").addEventListener("click", () => this.look("free"));
    find(".shot").addEventListener("click", () => this.save());
    for (const name of ["seeked", "loadeddata"]) this.video.addEventListener(name, () => this.draw());
    this.video.addEventListener("error", () => this.root.classList.remove("comparing"));
    document.addEventListener("click", (event) => {
      const target = event.target.closest?.("[data-time]");
      if (!target) return;
      this.play(false);
      this.seek(Number(target.dataset.time));
      this.root.scrollIntoView({ behavior: "smooth", block: "nearest" });
    });
  }

  setUpScene() {
    this.renderer = new WebGLRenderer({ canvas: this.canvas, antialias: true, alpha: true });
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
    this.scene = new Scene();
    const key = new DirectionalLight(new Color(1, 1, 1), 2.2);
    key.position.set(1, 1.6, 2.2);
    this.scene.add(new HemisphereLight(new Color(0xffffff), new Color(0x8a8f98), 1.5), key);
    this.camera = new PerspectiveCamera(FOV_DEG, 1, 0.01, 100);
    this.controls = new OrbitControls(this.camera, this.canvas);
    this.controls.addEventListener("change", () => { this.stale = true; });
    this.controls.addEventListener("start", () => { this.mode = "turned"; this.press(); });
    this.loader = new GLTFLoader();
    this.sphere = new Sphere(new Vector3(), 0.8);
  }

  /** Take over what an element shows; a model that is shown already stays, with its view and its time. */
  take(facts) {
    const before = this.facts;
    this.facts = facts;
    this.parts.badge.textContent = facts.label || "";
    this.root.classList.toggle("empty", !facts.src);
    this.root.classList.toggle("comparing", Boolean(facts.preview));
    this.parts.hint.textContent = facts.hint || "The model appears here.";
    if (facts.preview !== before.preview) {
      if (facts.preview) this.video.src = facts.preview; else this.video.removeAttribute("src");
    }
    if (facts.src && facts.src !== before.src) this.load(facts, before.name === facts.name && this.mode === "turned");
    else if (!facts.src) this.clear();
    this.mark();
  }

  async load(facts, keepView) {
    let file;
    try {
      file = await this.loader.loadAsync(facts.src);
    } catch (error) {
      this.parts.badge.textContent = "The model could not be loaded; the downloads below still work.";
      return;
    }
    if (facts.src !== this.facts.src) return;
    this.clear();
    this.model = file.scene;
    this.cameraFacts = file.asset?.extras?.camera;
    this.model.traverse((node) => {
      if (node.isMesh) { node.userData.own = node.material; node.frustumCulled = false; }
    });
    this.scene.add(this.model);
    const clip = file.animations[0];
    this.mixer = clip ? new AnimationMixer(this.model) : null;
    if (clip) this.mixer.clipAction(clip).play();
    this.clipEnd = clip ? clip.duration : 0;
    this.duration = facts.preview && facts.duration ? facts.duration : this.clipEnd;
    this.measure();
    this.show(this.surface);
    if (!keepView) this.look(this.cameraFacts ? "video" : "free");
    this.parts.scrub.max = String(this.duration || 1);
    this.root.classList.toggle("still", !this.mixer);
    this.mark();
    this.seek(Math.min(this.time, this.duration));
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.play(Boolean(this.mixer) && !calm && facts.autoplay !== false);
    this.root.dataset.loaded = facts.src;
  }

  clear() {
    if (this.model) {
      this.scene.remove(this.model);
      this.model.traverse((node) => {
        if (node.isMesh) { node.geometry.dispose(); node.userData.own.map?.dispose(); node.userData.own.dispose(); }
      });
    }
    this.model = this.mixer = null;
    this.play(false);
    this.stale = true;
  }

  /** The sphere around the whole animation, so that nothing leaves the picture while it plays. */
  measure() {
    const box = new Box3(), steps = this.mixer ? BOX_SAMPLES : 0;
    for (let i = 0; i <= steps; i++) {
      if (this.mixer) this.mixer.setTime(this.clipEnd * Math.min(i / BOX_SAMPLES, 0.9999));
      this.model.updateMatrixWorld(true);
      this.model.traverse((node) => { if (node.isMesh) box.union(new Box3().setFromObject(node, true)); });
    }
    box.getBoundingSphere(this.sphere);
  }

  show(surface) {
    this.surface = surface;
    this.parts.surface.value = surface;
    this.model?.traverse((node) => {
      if (!node.isMesh) return;
      const side = node.userData.own.side ?? DoubleSide;
      if (surface === "clay" || surface === "normals") addMorphNormals(node.geometry);
      node.material = {
        textured: () => node.userData.own,
        clay: () => new MeshStandardMaterial({ color: 0xcfc4b8, roughness: 0.9, side }),
        normals: () => new MeshNormalMaterial({ side }),
        wireframe: () => new MeshBasicMaterial({ color: 0x0f9488, wireframe: true, side }),
      }[surface]();
    });
    this.stale = true;
  }

  look(mode) {
    this.mode = mode;
    const { center, radius } = this.sphere;
    const up = new Vector3(0, 1, 0);
    if (mode === "video" && this.cameraFacts) {
      const m = this.cameraFacts.world_to_camera;
      const row = (i) => new Vector3(m[i][0], m[i][1], m[i][2]);
      const position = new Vector3();
      for (let i = 0; i < 3; i++) position.addScaledVector(row(i), -m[i][3]);
      const ahead = row(2);
      this.camera.position.copy(position);
      up.copy(row(1)).negate();
      this.controls.target.copy(position).addScaledVector(ahead, Math.max(ahead.dot(center.clone().sub(position)), 0.1));
    } else {
      this.mode = "free";
      const aside = new Vector3(0.62, 0.28, 1).normalize();
      this.camera.position.copy(center).addScaledVector(aside, this.distance());
      this.controls.target.copy(center);
    }
    this.camera.up.copy(up);
    this.lens();
    this.controls.update();
    this.press();
    this.stale = true;
  }

  /** From where the whole sphere is seen, in portrait too. */
  distance() {
    const half = Math.tan((FOV_DEG * Math.PI) / 360);
    return (1.08 * this.sphere.radius) / Math.sin(Math.atan(half * Math.min(1, this.camera.aspect)));
  }

  /** The video's view shows the video's whole picture in a pane of any shape. */
  lens() {
    let half = Math.tan((FOV_DEG * Math.PI) / 360);
    if (this.mode === "video" && this.cameraFacts) {
      half = Math.tan((this.cameraFacts.fov_deg * Math.PI) / 360);
      const [width, height] = this.facts.content || [1, 1];
      half *= Math.max(height, width / this.camera.aspect);
    }
    this.camera.fov = (Math.atan(half) * 360) / Math.PI;
    const far = this.camera.position.distanceTo(this.sphere.center);
    this.camera.near = Math.max(far - 2 * this.sphere.radius, far / 100);
    this.camera.far = far + 4 * this.sphere.radius;
    this.camera.updateProjectionMatrix();
  }

  press() {
    this.root.querySelector(".as-video").setAttribute("aria-pressed", String(this.mode === "video"));
    this.root.querySelector(".around").setAttribute("aria-pressed", String(this.mode !== "video"));
    this.root.querySelector(".as-video").disabled = !this.cameraFacts;
  }

  resize() {
    const pane = this.canvas.parentElement;
    const { clientWidth: width, clientHeight: height } = pane;
    if (!width || !height) return;
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    if (this.mode === "free") this.look("free");
    this.lens();
    this.stale = true;
    this.draw();
  }

  play(on) {
    this.playing = on && Boolean(this.mixer);
    this.parts.play.innerHTML = icon(this.playing ? "pause" : "play");
    this.parts.play.setAttribute("aria-label", this.playing ? "Pause" : "Play");
    this.root.dataset.playing = String(this.playing);
    if (this.playing && this.time >= this.duration - 1e-3) this.time = 0;
    if (this.facts.preview) {
      this.video.playbackRate = this.speed;
      if (this.playing) { this.video.currentTime = this.time; this.video.play().catch(() => {}); } else this.video.pause();
    }
  }

  /** Show the moment ``time`` (s of the clip) everywhere. */
  seek(time, follow = true) {
    this.time = clamp(time, 0, this.duration);
    this.mixer?.setTime(Math.min(this.time, this.clipEnd * 0.999999));
    if (follow && this.facts.preview) this.video.currentTime = Math.min(this.time + 1e-3, this.duration);
    this.parts.scrub.value = String(this.time);
    this.parts.scrub.setAttribute("aria-valuetext", seconds(this.time));
    this.parts.clock.textContent = `${this.time.toFixed(2)} / ${seconds(this.duration)}`;
    this.root.dataset.time = this.time.toFixed(3);
    const frame = this.frame();
    for (const line of document.querySelectorAll(".plot .cursor")) {
      const x = Number(line.dataset.edge) + frame * Number(line.dataset.step);
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
    }
    this.stale = true;
  }

  /** The frame that is shown at this moment. */
  frame() {
    const times = this.facts.times || [];
    let frame = 0;
    while (frame + 1 < times.length && times[frame + 1] <= this.time + 1e-4) frame++;
    return frame;
  }

  mark() {
    const { times = [], keyframes = [], weak = [] } = this.facts;
    const at = (i) => `${(100 * times[i]) / (this.duration || 1)}%`;
    this.parts.marks.innerHTML = this.facts.preview
      ? keyframes.map((i) => `<i style="left:${at(i)}"></i>`).join("") + weak.map((i) => `<b style="left:${at(i)}"></b>`).join("")
      : "";
  }

  tick(now) {
    const passed = Math.min(now - (this.last || now), 0.25);
    this.last = now;
    if (!this.root.isConnected) document.querySelector("v2m4-viewer")?.adopt();
    if (!this.root.isConnected) return;
    if (this.playing) {
      let time = this.time + passed * this.speed;
      if (time >= this.duration) {
        if (!this.looping) { this.play(false); time = this.duration; } else { time %= this.duration || 1; }
        if (this.facts.preview) this.video.currentTime = time;
        if (this.looping && this.facts.preview) this.video.play().catch(() => {});
      }
      this.seek(time, false);
      if (this.facts.preview && this.video.readyState > 1) {
        if (!this.video.seeking && Math.abs(this.video.currentTime - time) > SEEK_SLACK_S) this.video.currentTime = time;
        this.draw();
      }
    }
    if (this.stale && this.canvas.clientWidth) {
      this.stale = false;
      this.renderer.render(this.scene, this.camera);
    }
  }

  /** Input left of the slider, re-render right of it, from the one video that holds both. */
  draw() {
    const { videoWidth: whole, videoHeight: height, readyState } = this.video;
    if (readyState < 2 || !whole || !this.root.classList.contains("comparing")) return;
    const width = (whole - PREVIEW_GAP_PX) / 2;
    if (this.picture.width !== Math.round(width) || this.picture.height !== height) {
      Object.assign(this.picture, { width: Math.round(width), height });
    }
    const pen = this.picture.getContext("2d"), cut = Math.round((width * Number(this.parts.split.value)) / 100);
    pen.drawImage(this.video, width + PREVIEW_GAP_PX, 0, width, height, 0, 0, width, height);
    if (cut > 0) pen.drawImage(this.video, 0, 0, cut, height, 0, 0, cut, height);
    pen.fillStyle = "#ffffff";
    pen.fillRect(cut - 1, 0, 2, height);
  }

  /** A PNG of the model on nothing: (size, size) as the video's camera sees its square, or the pane as it is. */
  snapshot(size = 0) {
    const pane = this.canvas.parentElement, keep = this.camera.clone();
    if (size) {
      this.renderer.setPixelRatio(1);
      this.renderer.setSize(size, size, false);
      this.camera.aspect = 1;
      this.camera.fov = this.cameraFacts ? this.cameraFacts.fov_deg : FOV_DEG;
      this.camera.updateProjectionMatrix();
    }
    this.renderer.render(this.scene, this.camera);
    const data = this.canvas.toDataURL("image/png");
    if (size) {
      this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
      this.renderer.setSize(pane.clientWidth, pane.clientHeight, false);
      this.camera.copy(keep);
      this.camera.updateProjectionMatrix();
    }
    this.stale = true;
    return data;
  }

  save() {
    const link = document.createElement("a");
    link.href = this.snapshot();
    link.download = `${this.facts.name || "model"}-${this.time.toFixed(2)}s.png`;
    link.click();
  }
}

let stage = null;

class Viewer extends HTMLElement {
  static observedAttributes = ["data-view"];

  connectedCallback() {
    try {
      stage = stage || new Stage();
    } catch (error) {
      this.innerHTML = '<p class="no-webgl" role="alert">This browser shows no 3D pictures (WebGL is off). '
        + "The downloads below still work.</p>";
      return;
    }
    this.adopt();
  }

  attributeChangedCallback() {
    if (stage && this.contains(stage.root)) stage.take(JSON.parse(this.dataset.view || "{}"));
  }

  /** Take the stage in. The page may have put this element in the place of another, or emptied it. */
  adopt() {
    this.replaceChildren(stage.root);
    stage.take(JSON.parse(this.dataset.view || "{}"));
    stage.resize();
  }

  get stage() { return stage; }
}

if (!customElements.get("v2m4-viewer")) customElements.define("v2m4-viewer", Viewer);
