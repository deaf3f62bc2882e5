// The form for a new run: the first wrong field gets the focus, Ctrl+Enter starts, and a button pressed twice acts once.

export function installForm() {
  const form = document.getElementById("new-run");
  if (!form) return;
  const wrong = form.querySelector("[aria-invalid=true]");
  if (wrong) {
    const closed = wrong.closest("details:not([open])");
    if (closed) closed.open = true;
    wrong.focus();
  }
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    const button = form.querySelector("button.primary");
    button.setAttribute("aria-disabled", "true");
    button.firstChild.textContent = "Starting…";
  });
  // Coming back by the browser's history must find a form that works, for another run.
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    delete form.dataset.sent;
    form.key.value = [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16)).join("");
    form.querySelector("button.primary").firstChild.textContent = "Start";
  });
}
