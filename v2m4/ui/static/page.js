// What the whole page needs: links to copy, and names of the framework's own parts that say what stands on them.
document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  const address = new URL(button.dataset.copy, window.location.origin + window.location.pathname).href;
  const word = button.textContent;
  try {
    await navigator.clipboard.writeText(address);
    button.textContent = "Copied";
  } catch {
    window.prompt("Copy this link:", address);
  }
  setTimeout(() => { button.textContent = word; }, 1500);
});

// The video's input takes videos only; animated pictures and zips that are dropped on it go where they are taken.
document.addEventListener("drop", (event) => {
  const series = document.querySelector("#limits input[type=file]");
  const kinds = series?.accept.split(",").map((kind) => kind.trim()) ?? [];
  const name = event.dataTransfer?.files[0]?.name.toLowerCase() ?? "";
  if (!event.target.closest?.("#video") || !kinds.some((kind) => name.endsWith(kind))) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  series.files = event.dataTransfer.files;
  series.dispatchEvent(new Event("change", { bubbles: true }));
}, true);

// What is too large the framework does not send, and says so for some seconds only: the page's own note stays.
const weigh = (event) => {
  const file = (event.target.files ?? event.dataTransfer?.files)?.[0];
  if (!file || !event.target.closest?.("#video, #limits")) return;
  const { name, size } = file;
  const told = new CustomEvent("v2m4-large", { detail: { name, size } });
  document.querySelector("#note-video .prose")?.dispatchEvent(told);
};
document.addEventListener("change", weigh, true);
document.addEventListener("drop", weigh, true);

// A label unlike the visible words hides these from whoever speaks to the machine.
const plainNames = () => document.querySelectorAll("button.upload-container[aria-label]")
  .forEach((button) => button.removeAttribute("aria-label"));
new MutationObserver(plainNames).observe(document.documentElement, { childList: true, subtree: true });
plainNames();

// On a phone the result moves above the work once it is done: stay with it.
let state = "";
new MutationObserver(() => {
  const status = document.querySelector("#status .status");
  const now = status?.classList.contains("finished") ? "finished" : status?.classList.contains("working") ? "working" : "";
  if (state === "working" && now === "finished" && window.innerWidth <= 768) status.scrollIntoView({ behavior: "smooth" });
  state = now;
}).observe(document.documentElement, { childList: true, subtree: true, attributes: true, attributeFilter: ["class"] });
