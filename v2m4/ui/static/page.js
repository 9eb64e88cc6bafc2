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
