// Narrows the rows that are on the page to those holding all the words typed.

export function installFind() {
  const input = document.getElementById("find");
  if (!input) return;
  input.closest("[hidden]")?.removeAttribute("hidden");
  const nothing = document.getElementById("find-nothing");
  const narrow = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of document.querySelectorAll("#runs-rows tr")) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    if (nothing) nothing.hidden = shown > 0 || words.length === 0;
  };
  input.addEventListener("input", narrow);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      input.value = "";
      narrow();
      input.blur();
    }
  });
  document.addEventListener("htmx:after:swap", narrow);
  narrow();
}
