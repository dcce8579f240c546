// Copy buttons, and exact times in the reader's own zone.
(() => {
  const copy = async (button, text) => {
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select and copy it by hand";
    }
    setTimeout(() => { button.textContent = before; }, 2000);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy], [data-copy-from]");
    if (!button) return;
    const source = button.dataset.copyFrom && document.getElementById(button.dataset.copyFrom);
    copy(button, source ? source.textContent : button.dataset.copy);
  });

  document.addEventListener("mouseover", (event) => {
    const time = event.target.closest("time.mh-when");
    if (!time || time.dataset.local) return;
    time.dataset.local = "yes";
    time.title = new Date(time.dateTime).toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" });
  });
})();
