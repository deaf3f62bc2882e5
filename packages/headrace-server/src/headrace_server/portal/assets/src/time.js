// Moments in the reader's own time zone, and lengths of time that go on. words.py says the same without scripts.

const page = document.documentElement;
// The server's clock is right and the reader's may not be: count from how far apart they were when the page was made.
const skew = Date.now() - Number(page.dataset.now || Date.now());

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

const two = (number) => String(number).padStart(2, "0");

export function duration(seconds) {
  if (seconds < 0.0995) return `${Math.max(0, Math.round(seconds * 1000))} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}h ${two(Math.floor((whole % 3600) / 60))}m`;
  return `${Math.floor(whole / 86400)}d ${two(Math.floor((whole % 86400) / 3600))}h`;
}

function localise(time) {
  const moment = new Date(time.dateTime);
  if (Number.isNaN(moment.getTime())) return;
  const today = moment.toDateString() === new Date().toDateString();
  const text = today ? clock.format(moment) : `${day.format(moment)}, ${clock.format(moment)}`;
  if (time.textContent !== text) time.textContent = text;
  time.title = full.format(moment);
}

function tick() {
  for (const element of document.querySelectorAll("[data-ticking]")) {
    const passed = (Date.now() - skew - Number(element.dataset.at)) / 1000;
    const text = duration(Number(element.dataset.ticking) + Math.max(0, passed));
    if (element.textContent !== text) element.textContent = text;
  }
}

export function showTimes() {
  const show = () => {
    document.querySelectorAll("time[datetime]").forEach(localise);
    tick();
  };
  show();
  setInterval(tick, 1000);
  document.addEventListener("htmx:after:swap", show);
  document.addEventListener("visibilitychange", () => document.hidden || show());
}
