// Exact times in the reader's own zone.
document.addEventListener("mouseover", (event) => {
  const time = event.target.closest("time.mh-when");
  if (!time || time.dataset.local) return;
  time.dataset.local = "yes";
  time.title = new Date(time.dateTime).toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" });
});
