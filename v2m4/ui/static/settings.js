// Every number of the method: <v2m4-settings data-src>, found by words, folded by section, shown where changed.
//
// The text of changes (#changes) is what counts. What is typed here is written into it at once, and nothing asks the
// server: a press of the button sends that text. `window.v2m4Settings(preset, changes)` tells what the page holds.
const MOST = 40;
const told = { preset: "fast", changes: {}, wrong: false };
const written = [];  // texts of ours that the page has not told back yet: it may, after the next key was pressed
let facts = null;

const spaced = (text) => text.replaceAll("_", " ");
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const made = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const base = (field) => {
  const other = facts.presets[told.preset] || {};
  return field.name in other ? other[field.name] : field.value;
};
const change = (field) => field.name.split(".").reduce((at, part) => at?.[part], told.changes);
const isChanged = (field) => change(field) !== undefined;

// Write one change, or take it back (undefined), and leave no empty objects behind.
function put(field, value) {
  const path = field.name.split("."), last = path.pop(), along = [told.changes];
  path.forEach((part) => along.push(along.at(-1)[part] ??= {}));
  if (value === undefined) delete along.at(-1)[last]; else along.at(-1)[last] = value;
  for (let i = path.length; i > 0 && !Object.keys(along[i]).length; i -= 1) delete along[i - 1][path[i - 1]];
  const box = document.querySelector("#changes textarea");
  box.value = JSON.stringify(told.changes);
  written.push(box.value);
  box.dispatchEvent(new Event("input", { bubbles: true }));
}

function problem(field, value) {
  if (value === null || !["int", "float"].includes(field.kind)) return "";
  if (field.kind === "int" && !Number.isInteger(value)) return "This must be a whole number.";
  if (field.range && (value < field.low || value > field.high)) return `This must be from ${field.range}.`;
  return "";
}

class SettingsPanel extends HTMLElement {
  connectedCallback() {
    // Asked for once it is seen, and not at every visit of the page.
    this.seen = new IntersectionObserver(async (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      this.seen.disconnect();
      facts ??= await (await fetch(this.dataset.src)).json();
      this.build();
    });
    this.style.minHeight = "1px";
    this.seen.observe(this);
  }

  disconnectedCallback() { this.seen.disconnect(); }

  build() {
    this.search = made("input", { type: "search", placeholder: "Find a number: blur, texture size, limb …" });
    this.search.setAttribute("aria-label", "Find a setting");
    this.only = made("input", { type: "checkbox" });
    this.count = made("span");
    this.list = made("div", { className: "list" });
    this.replaceChildren(
      made("div", { className: "find" }, this.search, made("label", {}, this.only, this.count)), this.list,
    );
    this.search.addEventListener("input", () => this.show());
    this.only.addEventListener("change", () => this.show());
    this.show();
  }

  show() {
    if (!this.list) return;
    this.counted();
    const words = this.search.value.toLowerCase().replaceAll("_", " ").split(/\s+/).filter(Boolean);
    if (told.wrong) {
      this.list.replaceChildren(made("p", { textContent: "The text below is no valid JSON; mend it there first." }));
    } else if (words.length || this.only.checked) {
      const found = facts.fields.filter((field) => (!this.only.checked || isChanged(field))
        && words.every((word) => spaced(`${field.name} ${field.text}`).toLowerCase().includes(word)));
      const named = ({ name }) => words.every((word) => spaced(name).includes(word)) ? name.length : 1000;
      found.sort((one, other) => named(one) - named(other));
      const rest = found.length - MOST;
      this.list.replaceChildren(
        ...found.slice(0, MOST).map((field) => this.row(field, true)),
        made("p", { className: "quiet", textContent: rest > 0 ? `and ${rest} more: another word finds fewer.`
          : found.length ? "" : words.length ? "No name and no sentence has these words." : "Nothing is changed." }),
      );
    } else {
      const first = this.fold("Changed most often", facts.fields.filter((field) => field.common), true);
      const sections = Map.groupBy(facts.fields, ({ name }) => name.includes(".") ? name.split(".")[0] : "general");
      this.list.replaceChildren(first, ...[...sections].map(([name, fields]) => this.fold(capital(name), fields, false, 1)));
    }
  }

  // A section, filled when it is opened; depth: how many parts of the names its title has told already.
  fold(title, fields, full, depth = 0) {
    const body = made("div");
    const fold = made("details", {},
      made("summary", {}, title, made("small", { textContent: ` ${fields.length}` })), body);
    const fill = () => {
      if (body.childElementCount) return;
      if (full) return body.append(...fields.map((field) => this.row(field, true)));
      const inner = Map.groupBy(fields, ({ name }) => name.split(".").slice(depth, -1)[0] || "");
      inner.forEach((some, part) => {
        if (part === "" || fields.length <= 8) body.append(...some.map((field) => this.row(field, false, depth)));
        else body.append(this.fold(capital(spaced(part)), some, false, depth + 1));
      });
    };
    fold.addEventListener("toggle", fill);
    if (full) { fold.open = true; fill(); }
    return fold;
  }

  // One setting: its name, its input, its sentence; how it was before, once it is changed.
  row(field, whole, depth = 0) {
    const path = field.name.split("."), id = `setting-${field.name}-${whole ? "found" : "own"}`;
    const label = made("label", { htmlFor: id, textContent: capital(spaced(path.slice(whole ? 0 : depth).join(" / "))), title: field.name });
    const input = this.input(field);
    input.id = id;
    const text = made("p", { className: "quiet", id: `${id}-text`, textContent: `${field.text}${field.range ? ` (${field.range})` : ""}` });
    input.setAttribute("aria-describedby", text.id);
    const wrong = made("p", { className: "problem", hidden: true });
    wrong.setAttribute("role", "alert");
    const back = made("button", { type: "button", className: "link" });
    const row = made("div", { className: "setting" }, label, input, back, text, wrong);
    const read = () => {
      if (field.kind === "bool") return input.checked;
      if (input.value === "" && (field.optional || field.kind !== "str")) return field.optional ? null : undefined;
      return ["int", "float"].includes(field.kind) ? Number(input.value) : input.value;
    };
    const update = () => {
      const now = isChanged(field) ? change(field) : base(field), normal = base(field);
      row.classList.toggle("changed", isChanged(field));
      back.hidden = !isChanged(field);
      back.textContent = `Back to ${normal === null || normal === "" ? "none" : normal === true ? "on" : normal === false ? "off" : normal}`;
      wrong.textContent = problem(field, now);
      wrong.hidden = !wrong.textContent;
      this.counted();
      return now;
    };
    const fill = () => {
      const now = update();
      if (field.kind === "bool") input.checked = now; else input.value = now ?? "";
    };
    input.addEventListener("input", () => {
      const value = read();
      put(field, value === base(field) ? undefined : value);
      update();
    });
    back.addEventListener("click", () => { put(field, undefined); fill(); input.focus(); });
    fill();
    return row;
  }

  input(field) {
    if (field.choices.length) {
      return made("select", {}, ...field.choices.map(([text, value]) => made("option", { value, textContent: text })));
    }
    if (field.kind === "bool") return made("input", { type: "checkbox" });
    const number = ["int", "float"].includes(field.kind);
    return made("input", { type: number ? "number" : "text", step: "any", autocomplete: "off", placeholder: field.optional ? "none" : "" });
  }

  counted() { this.count.textContent = ` Only what is changed (${facts.fields.filter(isChanged).length})`; }
}

window.v2m4Settings = (preset, changes) => {
  const echo = written.indexOf(changes);
  written.splice(0, echo + 1);
  if (echo >= 0 && preset === told.preset) return;
  let data = null;
  try { data = JSON.parse(changes || "{}"); } catch { /* said below */ }
  const wrong = data === null || typeof data !== "object" || Array.isArray(data);
  const same = preset === told.preset && wrong === told.wrong && JSON.stringify(data) === JSON.stringify(told.changes);
  Object.assign(told, { preset, wrong }, wrong ? {} : { changes: data });
  if (!same) document.querySelectorAll("v2m4-settings").forEach((panel) => panel.show());
};
if (window.v2m4Told) window.v2m4Settings(...window.v2m4Told);  // the page was ready before this file

if (!customElements.get("v2m4-settings")) customElements.define("v2m4-settings", SettingsPanel);
