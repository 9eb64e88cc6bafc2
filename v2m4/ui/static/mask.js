// The masks, and mending them by clicks: <v2m4-mask data-mask="{frames, anchor, points, editable}">.
//
// points is the setting matting.points: "frame x y +" or "-", separated by "; ", x and y as shares of the picture. A
// change is told to the page as the event v2m4-mend; it then asks v2m4Mended what is changed now.
const memory = { frame: null, sign: "+", told: {} };

const parse = (text) => text.split(";").map((part) => part.trim()).filter(Boolean).map((part) => {
  const [frame, x, y, sign] = part.split(/\s+/);
  return { frame: Number(frame), x: Number(x), y: Number(y), sign };
});
const format = (points) => points.map((p) => `${p.frame} ${p.x.toFixed(4)} ${p.y.toFixed(4)} ${p.sign}`).join("; ");

class Mask extends HTMLElement {
  static observedAttributes = ["data-mask"];

  connectedCallback() {
    // The page compares old and new HTML when it renders, and may take out what it did not write itself.
    this.watch = this.watch || new MutationObserver(() => { if (!this.querySelector(".cards")) this.build(); });
    this.watch.observe(this, { childList: true });
    this.build();
  }

  disconnectedCallback() { this.watch.disconnect(); }

  attributeChangedCallback() { if (this.isConnected) this.build(); }

  build() {
    this.facts = JSON.parse(this.dataset.mask || "{}");
    this.points = parse(this.facts.points || "");
    const { frames = [], anchor, editable } = this.facts;
    const cards = frames.map(({ index, time, src }) => {
      const main = index === anchor ? '<span class="main">main</span>' : "";
      const picture = `<img src="${src}" alt="Frame ${index} with the outline of the object" width="72" height="72">`;
      return editable
        ? `<button type="button" data-frame="${index}" aria-pressed="false">${picture}${main}<span class="caption">${time}</span></button>`
        : `<span class="figure">${picture}${main}<span class="caption">${time}</span></span>`;
    }).join("");
    this.innerHTML = `<div class="cards">${cards}</div><div class="editor" hidden></div>`;
    if (!editable) return;
    this.editor = this.querySelector(".editor");
    this.querySelectorAll("[data-frame]").forEach((card) => card.addEventListener("click", () => {
      const frame = Number(card.dataset.frame);
      this.open(memory.frame === frame ? null : frame);
    }));
    this.open(frames.some((f) => f.index === memory.frame) ? memory.frame : null, false);
  }

  open(frame, focus = true) {
    memory.frame = frame;
    this.querySelectorAll("[data-frame]").forEach((card) =>
      card.setAttribute("aria-pressed", String(Number(card.dataset.frame) === frame)));
    this.editor.hidden = frame === null;
    if (frame === null) return;
    const { src } = this.facts.frames.find((f) => f.index === frame);
    const own = this.points.filter((p) => p.frame === frame);
    this.editor.innerHTML = `
      <p>Click what the outline leaves out, or what it wrongly holds; the clip's other frames follow.</p>
      <div class="canvas"><img src="${src}" alt="Frame ${frame}, to be clicked" draggable="false">${own.map((p) =>
        `<i class="${p.sign === "+" ? "plus" : "minus"}" style="left:${100 * p.x}%;top:${100 * p.y}%"></i>`).join("")}</div>
      <div class="row" role="group" aria-label="What a click means">
        <button type="button" class="sign plus" aria-pressed="${memory.sign === "+"}">＋ belongs to it</button>
        <button type="button" class="sign minus" aria-pressed="${memory.sign === "-"}">− does not</button>
        <button type="button" class="undo"${this.points.length ? "" : " disabled"}>Undo</button>
        <button type="button" class="anchor"${frame === this.facts.anchor ? " disabled" : ""}
          title="The mesh is made from this frame, and moves to all others">Make this the main frame</button>
        <button type="button" class="close" aria-label="Close the picture">Close</button>
      </div>`;
    const find = (name) => this.editor.querySelector(name);
    find(".sign.plus").addEventListener("click", () => this.choose("+"));
    find(".sign.minus").addEventListener("click", () => this.choose("-"));
    find(".undo").addEventListener("click", () => { this.points.pop(); this.tell(); });
    find(".anchor").addEventListener("click", () => this.tell(frame));
    find(".close").addEventListener("click", () => {
      this.open(null);
      this.querySelector(`[data-frame="${frame}"]`).focus();
    });
    find(".canvas").addEventListener("click", (event) => {
      const box = find(".canvas img").getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
      if (x < 0 || x > 1 || y < 0 || y > 1) return;
      this.points.push({ frame, x, y, sign: memory.sign });
      this.open(frame, false);
      this.tell();
    });
    if (focus) this.editor.scrollIntoView({ behavior: "smooth", block: "nearest" });
  }

  choose(sign) {
    memory.sign = sign;
    this.open(memory.frame, false);
  }

  tell(anchor = null) {
    this.editor.classList.add("busy");
    memory.told = { points: format(this.points), anchor };
    this.dispatchEvent(new CustomEvent("v2m4-mend", { bubbles: true, detail: memory.told }));
  }
}

// The text of changes with the last change of the masks written into it: in the browser, so that a press right after it
// counts it, however slow the server is.
window.v2m4Mended = (text) => {
  let data = {};
  try { data = JSON.parse(text || "{}") ?? {}; } catch { /* what was no JSON counts for nothing */ }
  const put = (part, name, value) => {
    data[part] = { ...data[part], [name]: value };
    if (value === "") delete data[part][name];
    if (!Object.keys(data[part]).length) delete data[part];
  };
  put("matting", "points", memory.told.points);
  if (memory.told.anchor !== null) put("keyframes", "anchor", memory.told.anchor);
  return JSON.stringify(data);
};

if (!customElements.get("v2m4-mask")) customElements.define("v2m4-mask", Mask);
