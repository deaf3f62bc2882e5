// Follows a log. What comes is text and only ever becomes text nodes. The page keeps the newest part.

const KEPT_CHARACTERS = 1_000_000;
const ESCAPES = /\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -\/]+[0-~]|[@-Z\\-_])/g;

// What a terminal would show of complete lines: escape sequences go, and a carriage return starts the line again.
export function plain(text) {
  const lines = text.replace(ESCAPES, "").split("\n");
  return lines.map((line) => line.replace(/\r+$/, "").split("\r").pop()).join("\n");
}

class LogView {
  constructor(box) {
    this.box = box;
    this.text = box.querySelector(".log-text");
    this.foot = box.querySelector("[data-log-status]");
    this.pause = box.querySelector("[data-log-pause]");
    this.wrap = box.querySelector("[data-log-wrap]");
    this.offset = Number(this.text.dataset.offset);
    this.ended = this.text.dataset.ended === "yes";
    this.paused = false;
    this.tail = "";
    this.length = this.text.textContent.length;
  }

  start() {
    this.pause.hidden = this.ended;
    this.wrap.hidden = false;
    this.pause.addEventListener("click", () => this.setPaused(!this.paused));
    this.wrap.addEventListener("click", () => this.toggleWrap());
    this.toEnd();
    // Scrolling up to read is a pause of the scrolling, not of the log.
    this.text.addEventListener("scroll", () => (this.stuck = this.atEnd()));
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
    window.addEventListener("pagehide", () => this.close());
    this.open();
  }

  open() {
    if (this.source || this.ended || this.paused || document.hidden) return;
    const url = new URL(this.text.dataset.source, location.href);
    url.searchParams.set("offset", this.offset);
    this.source = new EventSource(url);
    this.source.addEventListener("open", () => this.say("Following"));
    this.source.addEventListener("log", (event) => this.take(JSON.parse(event.data)));
    this.source.addEventListener("end", (event) => {
      this.take(JSON.parse(event.data));
      this.finish();
    });
    this.source.addEventListener("error", (event) => {
      // With data it is the server's word (a problem document), without it is the connection.
      if (event.data) this.stop(JSON.parse(event.data).detail);
      else this.say("Connection lost; trying again");
    });
  }

  close() {
    this.source?.close();
    this.source = undefined;
  }

  take(chunk) {
    if (chunk.next_offset > this.offset || chunk.data) this.append(chunk.data);
    this.offset = chunk.next_offset;
    if (chunk.ended) this.finish();
  }

  append(data) {
    this.text.querySelector("[data-log-empty]")?.remove();
    const stuck = this.stuck ?? true;
    // An unfinished last line is kept raw, because a later carriage return may rewrite it.
    const raw = this.tail + data;
    const cut = raw.lastIndexOf("\n") + 1;
    this.tail = raw.slice(cut).slice(-100_000);
    this.last?.remove();
    const done = plain(raw.slice(0, cut));
    if (done) this.text.append(done);
    this.last = document.createTextNode(plain(this.tail));
    this.text.append(this.last);
    this.length += done.length;
    this.trim();
    if (stuck) this.toEnd();
  }

  trim() {
    while (this.length > KEPT_CHARACTERS && this.text.childNodes.length > 2) {
      this.length -= this.text.firstChild.textContent.length;
      this.text.firstChild.remove();
      this.box.querySelector("[data-log-cut]").hidden = false;
    }
  }

  stop(words) {
    this.close();
    this.say(words);
  }

  finish() {
    this.ended = true;
    this.close();
    this.pause.hidden = true;
    this.say("Complete");
  }

  setPaused(paused) {
    this.paused = paused;
    this.pause.setAttribute("aria-pressed", String(paused));
    if (paused) {
      this.close();
      this.say("Paused");
    } else {
      this.stuck = true;
      this.toEnd();
      this.open();
    }
  }

  toggleWrap() {
    const off = this.text.dataset.wrap !== "off";
    this.text.dataset.wrap = off ? "off" : "on";
    this.wrap.setAttribute("aria-pressed", String(!off));
  }

  atEnd() {
    return this.text.scrollHeight - this.text.scrollTop - this.text.clientHeight < 24;
  }

  toEnd() {
    this.text.scrollTop = this.text.scrollHeight;
  }

  say(words) {
    if (this.foot.textContent !== words) this.foot.textContent = words;
  }
}

export function installLog() {
  const box = document.querySelector("[data-log]");
  if (!box?.querySelector(".log-text")) return;
  new LogView(box).start();
  // Choosing a task is a choice, not a form to send.
  box.querySelector("input[name=task]")?.addEventListener("change", (event) => event.target.form.requestSubmit());
}
