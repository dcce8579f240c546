// Keys of the approvals inbox. Nothing is decided by one key: `a` goes to the button, and presses it when it is there.
(() => {
  const cards = () => [...document.querySelectorAll("[data-approval]")];
  let chosen = null;

  const current = () => {
    const all = cards();
    const focused = document.activeElement?.closest("[data-approval]");
    return focused || all.find((card) => card.id === chosen) || (all.length === 1 ? all[0] : null);
  };

  const choose = (card) => {
    if (!card) return;
    chosen = card.id;
    card.focus();
    card.scrollIntoView({ block: "nearest" });
  };

  const move = (step) => {
    const all = cards();
    const place = all.indexOf(current());
    choose(all[place < 0 ? 0 : Math.min(all.length - 1, Math.max(0, place + step))]);
  };

  const approve = () => {
    const card = current();
    const button = card?.querySelector("[data-approve]") || (card && document.querySelector(".answers [data-approve]"));
    if (!button) return;
    if (document.activeElement === button) button.click();
    else button.focus();
  };

  const deny = () => {
    const reason = document.querySelector("[data-deny-reason]");
    if (reason) reason.focus();
    else current()?.querySelector("[data-deny]")?.click();
  };

  const keys = { j: () => move(1), k: () => move(-1), a: approve, d: deny };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  document.addEventListener("DOMContentLoaded", () => {
    for (const help of document.querySelectorAll(".keys-help")) help.hidden = false;
  });
})();
