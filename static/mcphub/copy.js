// Copy buttons. They are hidden in the page, because without this file they would do nothing.
(() => {
  const select = (source) => {
    const range = document.createRange();
    range.selectNodeContents(source);
    const selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  };

  const say = (button, text) => {
    button.dataset.label ||= button.textContent;
    button.textContent = text;
    clearTimeout(button.timer);
    button.timer = setTimeout(() => { button.textContent = button.dataset.label; }, 2000);
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-copy-from]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copyFrom) || button.parentElement.querySelector("code");
    try {
      // Browsers give the clipboard to https and localhost only.
      await navigator.clipboard.writeText(button.dataset.copy ?? source.textContent);
      say(button, "Copied");
    } catch {
      if (source) select(source);
      say(button, "Selected, copy it with your keyboard");
    }
  });

  const show = () => {
    for (const button of document.querySelectorAll("[data-copy-from][hidden]")) {
      button.hidden = false;
      button.setAttribute("aria-live", "polite");
    }
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", show);
  else show();
})();
