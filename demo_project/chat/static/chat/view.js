// What the page shows. Nothing here knows of SignalR.

const TRANSPORT_NAMES = { webSockets: "web sockets", serverSentEvents: "server-sent events", longPolling: "long polling", foreverFrame: "forever frame" };
const NEAR_THE_END = 80; // pixels
const SAME_BREATH = 5 * 60_000; // milliseconds
const MOST_LINES = 500;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const narrow = matchMedia("(max-width: 759px)");
const title = { room: "", unread: 0 };
let last = null; // the newest line: {id, name, time}

export const $ = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.classList.add("icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

function paintAvatar(element, name) {
  const words = name.trim().split(/\s+/);
  element.textContent = [words[0], words.length > 1 ? words.at(-1) : ""].map((word) => [...word][0] ?? "").join("").toUpperCase();
  let hue = 0;
  for (const character of name) hue = (hue * 31 + character.codePointAt(0)) % 360;
  element.style.setProperty("--hue", hue);
  return element;
}

const avatar = (name) => paintAvatar(make("span", { className: "avatar", ariaHidden: "true" }), name);

function check() {
  const mark = icon("check");
  mark.classList.add("check");
  mark.setAttribute("aria-hidden", "false");
  mark.setAttribute("role", "img");
  mark.setAttribute("aria-label", "logged in");
  return mark;
}

// Connection

export function showState(state, why) {
  $("badge").dataset.state = state;
  $("state").textContent = state;
  if (state !== "connected") {
    $("via").textContent = "";
    $("room-note").textContent = "not connected";
  }
  $("connect").hidden = state === "connecting";
  $("disconnect").disabled = state === "disconnected";
  const isDown = state === "reconnecting" || state === "disconnected";
  $("banner").hidden = !isDown;
  $("banner-title").textContent = state === "disconnected" ? "Disconnected." : "Reconnecting…";
  $("banner-detail").textContent = why;
}

export const isWaiting = () => $("badge").dataset.state === "reconnecting";

export function showTransport(transport) {
  $("via").textContent = TRANSPORT_NAMES[transport] ?? transport;
}

// Rooms and people

export function showRoom(name) {
  title.room = name;
  showTitle();
  $("room-name").textContent = name;
  $("say").textContent = `manage.py say ${name} "Hello"`;
  $("text").placeholder = `Write to #${name}`;
}

export function showRooms(rooms, current) {
  const counts = new Map([["lobby", 0], [current, 0], ...rooms.map(({ name, people }) => [name, people])]);
  const items = [...counts].map(([name, people]) => {
    const query = new URLSearchParams(location.search);
    query.set("room", name);
    const link = make("a", { href: `?${query}` }, make("span", { className: "room-name", textContent: name }));
    link.dataset.room = name;
    if (name === current) link.setAttribute("aria-current", "page");
    link.ariaLabel = `${name}, ${people} here`;
    link.append(make("span", { className: "count", textContent: people }));
    return make("li", {}, link);
  });
  $("rooms").replaceChildren(...items);
}

export function showPeople(people, me) {
  $("people").replaceChildren(
    ...people.map(({ id, name, is_user, is_classic }) => {
      const label = make("span", { className: "person-name", textContent: name });
      const item = make("li", { className: "person" }, avatar(name), label);
      if (is_user) item.append(check());
      if (is_classic) item.append(make("span", { className: "client", textContent: "classic", title: "with the client of ASP.NET SignalR 2" }));
      if (id === me) item.append(make("span", { className: "you", textContent: "you" }));
      return item;
    }),
  );
  $("people-count").textContent = people.length;
  $("room-note").textContent = people.length === 1 ? "just you" : `${people.length} people here`;
}

export function showMe(name) {
  paintAvatar($("my-avatar"), name);
  $("my-name").textContent = name;
}

// Lines

function add(line, isNews) {
  const isAtEnd = isNearTheEnd();
  $("empty").hidden = true;
  $("lines").append(line);
  while ($("lines").children.length > MOST_LINES) $("lines").firstChild.remove();
  if (isAtEnd) scrollToEnd();
  else $("newer").hidden = !isNews && $("newer").hidden;
  if (isNews && document.hidden) {
    title.unread++;
    showTitle();
  }
}

function timeOf(date) {
  return make("time", { dateTime: date.toISOString(), textContent: clock.format(date), title: date.toLocaleString() });
}

export function addMessage({ name, text, sentAt, id, isMine, isUser }) {
  const date = new Date(sentAt);
  const line = make("li", { className: "line message" });
  const bubble = make("div", { className: "bubble" }, make("span", { className: "words", textContent: text }), timeOf(date));
  if (id === null) {
    line.classList.add("announcement");
    line.append(icon("horn"), make("div", { className: "said" }, make("p", { className: "author", textContent: name }), bubble));
    last = null;
  } else {
    const isFirst = last === null || last.id !== id || last.name !== name || date - last.time > SAME_BREATH;
    const author = make("p", { className: "author", textContent: isMine ? "You" : name });
    if (isUser && !isMine) author.append(check());
    line.classList.toggle("mine", isMine);
    line.classList.toggle("first", isFirst);
    author.classList.toggle("hidden", isMine || !isFirst);
    line.append(isFirst && !isMine ? avatar(name) : "", make("div", { className: "said" }, author, bubble));
    last = { id, name, time: date };
  }
  add(line, !isMine);
  if (isMine) scrollToEnd();
}

export function addNote(text) {
  last = null;
  add(make("li", { className: "line note", textContent: text }), false);
}

export function clearLines() {
  $("lines").replaceChildren();
  $("empty").hidden = false;
  $("newer").hidden = true;
  last = null;
}

function isNearTheEnd() {
  const { scrollHeight, scrollTop, clientHeight } = $("scroll");
  return scrollHeight - scrollTop - clientHeight < NEAR_THE_END;
}

function scrollToEnd() {
  $("scroll").scrollTop = $("scroll").scrollHeight;
  $("newer").hidden = true;
}

$("newer").addEventListener("click", scrollToEnd);
$("scroll").addEventListener("scroll", () => isNearTheEnd() && ($("newer").hidden = true), { passive: true });
new ResizeObserver(() => $("newer").hidden && scrollToEnd()).observe($("scroll"));

function showTitle() {
  document.title = `${title.unread ? `(${title.unread}) ` : ""}#${title.room} · chat`;
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) title.unread = 0;
  showTitle();
});

// Around the message box

export function showTyping(names) {
  const list = new Intl.ListFormat("en").format(names.length > 3 ? [...names.slice(0, 2), `${names.length - 2} others`] : names);
  $("typing").classList.toggle("shown", names.length > 0);
  if (names.length) $("typing-text").textContent = `${list} ${names.length === 1 ? "is" : "are"} typing`;
}

export function showLength(length, longest) {
  $("counter").textContent = length > longest * 0.8 ? `${length} / ${longest}` : "";
  $("counter").classList.toggle("over", length > longest);
}

export function showError(text) {
  $("error-text").textContent = text;
  $("error").hidden = false;
}

export function clearError() {
  $("error").hidden = true;
}

$("close-error").addEventListener("click", clearError);

let toastTimer;
export async function copy(text, done) {
  try {
    await navigator.clipboard.writeText(text);
    $("toast").textContent = done;
  } catch {
    $("toast").textContent = text; // no clipboard without HTTPS: at least show it
  }
  $("toast").classList.add("shown");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => $("toast").classList.remove("shown"), 2500);
}

// The drawer of narrow screens

function setDrawer(isOpen) {
  document.body.classList.toggle("drawer-open", isOpen);
  $("open-drawer").setAttribute("aria-expanded", isOpen);
  $("drawer").inert = narrow.matches && !isOpen;
  $("room").inert = narrow.matches && isOpen;
}

export function closeDrawer() {
  if (!document.body.classList.contains("drawer-open")) return;
  setDrawer(false);
  $("open-drawer").focus();
}

$("open-drawer").addEventListener("click", () => {
  setDrawer(true);
  $("close-drawer").focus();
});
$("close-drawer").addEventListener("click", closeDrawer);
$("veil").addEventListener("click", closeDrawer);
addEventListener("keydown", (event) => event.key === "Escape" && closeDrawer());
narrow.addEventListener("change", () => setDrawer(false));
setDrawer(false);
