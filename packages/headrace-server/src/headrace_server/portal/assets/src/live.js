// Says whether the page follows the cluster or has lost the server.

function say(live) {
  for (const element of document.querySelectorAll("[data-live]")) {
    element.dataset.live = live ? "on" : "off";
    element.textContent = live ? "Live" : "Reconnecting";
  }
}

export function installLive() {
  document.addEventListener("htmx:sse:after:connection", () => say(true));
  document.addEventListener("htmx:sse:error", () => say(false));
  document.addEventListener("htmx:sse:before:connection", (event) => {
    if (event.detail.connection.attempt > 0) say(false);
  });
}
