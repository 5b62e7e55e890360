// The messages of a room. All text goes in as text, never as markup.

import { avatar } from "./names.js";

const FOLLOWS_WITHIN = 5 * 60 * 1000;
const KEPT = 500;
const NEAR = 80;
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

function make(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  if (text) element.textContent = text;
  return element;
}

function timeOf(now) {
  const element = make("time", "", clock.format(now));
  element.dateTime = now.toISOString();
  return element;
}

export function icon(name, className = "icon") {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.setAttribute("class", className);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

export class Log {
  constructor({ scroll, lines, empty, newer }) {
    Object.assign(this, { scroll, lines, empty, newer });
    this.last = null;
    newer.addEventListener("click", () => this.toEnd());
    scroll.addEventListener("scroll", () => this.isAtEnd && (newer.hidden = true), { passive: true });
    // A keyboard that opens, or a banner, must not hide the newest line.
    new ResizeObserver(() => this.wasAtEnd && this.toEnd()).observe(scroll);
    scroll.addEventListener("scroll", () => (this.wasAtEnd = this.isAtEnd), { passive: true });
    this.wasAtEnd = true;
  }

  get isAtEnd() {
    return this.scroll.scrollHeight - this.scroll.scrollTop - this.scroll.clientHeight < NEAR;
  }

  toEnd() {
    this.scroll.scrollTop = this.scroll.scrollHeight;
    this.newer.hidden = true;
  }

  message(name, text, { isOwn, key }) {
    const now = new Date();
    const follows = this.last?.key === key && now - this.last.time < FOLLOWS_WITHIN;
    const line = make("li", `message${isOwn ? " own" : ""}${follows ? " follows" : ""}`);
    const bubble = make("div", "bubble", text);
    bubble.append(timeOf(now));
    if (follows) this.last.line.classList.add("continues");
    if (!isOwn) line.append(avatar(name));
    line.append(make("p", isOwn || follows ? "author hidden" : "author", isOwn ? "You" : name), bubble);
    this.add(line, { key, time: now, line }, isOwn);
  }

  announcement(author, text) {
    const line = make("li", "announcement");
    const head = make("p", "author", `Announced by ${author}, from a Django view`);
    head.append(timeOf(new Date()));
    line.append(icon("horn"), head, make("p", "text", text));
    this.add(line, null);
  }

  system(text) {
    this.add(make("li", "system", text), null, false, false);
  }

  clear() {
    this.lines.replaceChildren();
    this.last = null;
    this.empty.hidden = false;
    this.newer.hidden = true;
  }

  add(line, last, isOwn = false, fills = true) {
    const follow = isOwn || this.isAtEnd;
    this.last = last;
    this.lines.append(line);
    while (this.lines.childElementCount > KEPT) this.lines.firstElementChild.remove();
    if (fills) this.empty.hidden = true;
    if (follow) this.toEnd();
    else if (fills) this.newer.hidden = false;
  }
}
