// Keys: / finds, n starts a new run, j and k walk the rows. Never while somebody types, never with a modifier.

const typing = (target) => target.closest?.("input, textarea, select, [contenteditable], [popover]:popover-open");

function walk(step) {
  const rows = [...document.querySelectorAll("#runs-rows tr:not([hidden]) td.name a")];
  if (rows.length === 0) return;
  const at = rows.indexOf(document.activeElement);
  const next = at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + step));
  rows[next].focus();
}

const actions = {
  "/": () => document.getElementById("find")?.focus(),
  n: () => document.querySelector('a[href="/runs/new"]')?.click(),
  j: () => walk(1),
  k: () => walk(-1),
};

export function installKeys() {
  document.addEventListener("keydown", (event) => {
    const action = actions[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    event.preventDefault();
    action();
  });
}
