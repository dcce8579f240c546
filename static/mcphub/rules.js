// The form of a rule: only what goes with the chosen effect is shown. The server leaves out the rest anyway.
document.addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("rule_form");
  if (!form) return;

  const effect = form.elements.effect;
  const showEffect = () => {
    for (const part of form.querySelectorAll(".mh-effect")) {
      part.hidden = !part.classList.contains(`mh-effect-${effect.value}`);
    }
    const secret = form.querySelector(".field-secret");
    if (secret) secret.hidden = effect.value !== "deny";
  };
  effect.addEventListener("change", showEffect);
  showEffect();

  // The help for conditions stands under their field.
  const help = form.querySelector("[data-cel]");
  form.querySelector(".mh-condition")?.after(help);

  const changes = form.querySelector("[data-changes]");
  const showCells = () => {
    for (const row of changes.querySelectorAll(".mh-change")) {
      const verb = row.querySelector("select").value;
      for (const cell of row.querySelectorAll("[data-for]")) cell.hidden = cell.dataset.for !== verb;
    }
  };
  changes.addEventListener("change", showCells);
  showCells();

  const more = document.createElement("button");
  more.type = "button";
  more.className = "mh-button";
  more.textContent = "One more change";
  changes.after(more);
  more.addEventListener("click", () => {
    const rows = changes.querySelectorAll(".mh-change");
    const row = rows[rows.length - 1].cloneNode(true);
    row.setAttribute("aria-label", `Change ${rows.length + 1}`);
    for (const cell of row.querySelectorAll("input, select")) {
      cell.name = cell.name.replace(/-\d+-/, `-${rows.length}-`);
      cell.value = "";
    }
    changes.append(row);
    showCells();
    row.querySelector("select").focus();
    more.hidden = rows.length + 1 >= Number(changes.dataset.most);
  });
});
