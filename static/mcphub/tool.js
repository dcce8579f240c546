// The tool editor: fields of the chosen kind, the live preview, and schemas taken from a function.
document.addEventListener("DOMContentLoaded", () => {
  const editor = document.querySelector("[data-editor]");
  const form = document.getElementById("tool_form");
  if (!editor || !form) return;

  const kind = form.elements.kind;
  const showKind = () => {
    for (const fields of form.querySelectorAll(".mh-kind")) {
      fields.hidden = !fields.classList.contains(`mh-kind-${kind.value}`);
    }
  };
  const post = (url, signal) => fetch(url, { method: "POST", body: new FormData(form), signal });

  const look = editor.querySelector("[data-look]");
  let waiting;
  let running;
  const preview = async () => {
    running?.abort();
    running = new AbortController();
    try {
      const answer = await post(editor.dataset.previewUrl, running.signal);
      if (answer.ok) {
        const open = [...look.querySelectorAll("details")].map((one) => one.open);
        const place = look.querySelector("[data-manifest]")?.scrollTop;
        look.innerHTML = await answer.text();
        if (place) look.querySelector("[data-manifest]").scrollTop = place;
        const sent = look.querySelector("details");
        if (sent && open.length) sent.open = open[0];
      }
      look.classList.toggle("mh-stale", !answer.ok);
    } catch (problem) {
      if (problem.name !== "AbortError") look.classList.add("mh-stale");
    }
  };
  const soon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(preview, 400);
  };

  const take = document.createElement("button");
  take.type = "button";
  take.className = "mh-button";
  take.textContent = "Take the schemas from the function";
  const said = document.createElement("p");
  said.className = "mh-quiet";
  said.setAttribute("aria-live", "polite");
  form.querySelector(".mh-kind-function")?.append(take, said);
  take.addEventListener("click", async () => {
    const answer = await (await post(editor.dataset.schemaUrl)).json();
    said.textContent = answer.problem || "Taken. Look them over below “Arguments and result”.";
    if (answer.problem) return;
    form.elements.input_schema.value = answer.input_schema;
    form.elements.output_schema.value = answer.output_schema;
    if (!form.elements.description.value) form.elements.description.value = answer.description;
    soon();
  });

  // What belongs to jobs matters only to tools that run as one, and waiting only to those that wait first.
  const runs = form.elements.runs;
  const showRuns = () => {
    for (const fields of form.querySelectorAll(".mh-job")) fields.hidden = runs.value === "inline";
    const wait = form.querySelector(".field-wait");
    if (wait) wait.hidden = runs.value !== "automatic";
  };

  kind.addEventListener("change", showKind);
  runs.addEventListener("change", showRuns);
  form.addEventListener("input", soon);
  form.addEventListener("change", soon);
  showKind();
  showRuns();
  if (!look.querySelector("[data-manifest]")) soon();
});
