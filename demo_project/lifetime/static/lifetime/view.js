// What the page shows. Nothing here knows of SignalR.

const MOST_EVENTS = 300;
const NEAR_THE_END = 60; // pixels
const TONES = {
  connected: "good",
  reconnected: "good",
  on_connected: "good",
  on_reconnected: "good",
  connectionSlow: "warn",
  reconnecting: "warn",
  disconnected: "bad",
  on_disconnected: "bad",
  error: "bad",
  received: "news",
};
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 1 });

export const $ = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function time(date) {
  return make("time", { dateTime: date.toISOString(), textContent: clock.format(date) });
}

const processes = [];

/** The id of a process, in a colour of its own. */
function processTag(process) {
  if (!processes.includes(Number(process))) processes.push(Number(process));
  const tag = make("span", { className: "tag", textContent: process, title: `server process ${process}` });
  tag.style.setProperty("--hue", (210 + 97 * processes.indexOf(Number(process))) % 360);
  return tag;
}

/** Put a row into a list, in the order of time: what happened while the server was away is told late. */
function add(list, date, item) {
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_THE_END;
  let next = null;
  for (let row = list.lastElementChild; row && row.date > date; row = row.previousElementSibling) next = row;
  item.date = date;
  item.prepend(time(date));
  list.insertBefore(item, next);
  while (list.children.length > MOST_EVENTS) list.firstChild.remove();
  if (isAtEnd) list.scrollTop = list.scrollHeight;
}

function row(name, text, ...more) {
  const label = make("span", { className: "name", textContent: name });
  const item = make("li", {}, label, make("span", { className: "text" }, text, ...more));
  item.dataset.name = name;
  item.dataset.tone = TONES[name] ?? "";
  return item;
}

// The client

const counts = { client: 0, server: 0 };

/** @param sentAt when the server sent it, if it did and said so */
export function addEvent(name, text, sentAt) {
  const sent = sentAt ? make("span", { className: "sent", textContent: `sent at ${clock.format(new Date(sentAt))}` }) : "";
  add($("client-events"), new Date(), row(name, text, " ", sent));
  $("client-count").textContent = ++counts.client;
}

export function showState(state, { id, transport }) {
  for (const item of document.querySelectorAll(".states li")) {
    if (item.dataset.state === state) item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
  }
  $("badge").dataset.state = state;
  $("state").textContent = state;
  $("via").textContent = state === "connected" || state === "reconnecting" ? transport : "";
  $("connection-id").textContent = id;
  $("id-line").hidden = !id;
  $("start").disabled = state !== "disconnected";
  $("transport").disabled = state !== "disconnected";
  $("stop").disabled = state === "disconnected";
}

// The server

const known = new Set();

/** A callback of the hub; those that are shown already are not shown again. */
export function addCallback({ number, name, time: told, process, transport, reason, stop_called, connection_id }) {
  if (known.has(number)) return;
  known.add(number);
  const text = name === "on_disconnected" ? `${reason}, stop_called ${stop_called ? "True" : "False"}` : `over ${transport}`;
  const item = row(name, text, " ", processTag(process));
  item.dataset.process = process;
  item.title = `connection ${connection_id}`;
  add($("server-events"), new Date(told), item);
  $("server-count").textContent = ++counts.server;
}

/** A line about something that neither side is told. */
export function addNote(list, text) {
  add($(list), new Date(), make("li", { className: "note" }, text));
}

export function showProcess(process) {
  $("process").textContent = process ?? "gone";
  $("process").dataset.gone = process === null;
}

// The history

export function showHistory({ connection, events }) {
  if (!connection) return;
  const { is_live, reason, detail, transport } = connection;
  $("history-badge").hidden = false;
  $("history-badge").dataset.state = is_live ? "connected" : "disconnected";
  $("history-state").textContent = is_live ? "live" : connection.closed_at ? "ended" : "lost its process";
  $("history-id").textContent = connection.connection_id;
  $("history-note").textContent = detail || (reason ? `It ended: ${reason}.` : `Over ${transport}, on server process ${connection.process}.`);
  $("history-table").hidden = false;
  $("history").replaceChildren(
    ...events.map((event) => {
      const pid = event.process.split(":")[1] ?? event.process;
      const item = make(
        "tr",
        {},
        make("td", {}, time(new Date(event.time))),
        make("td", {}, make("span", { className: "name", textContent: event.kind })),
        make("td", { textContent: event.reason, title: event.detail }),
        make("td", {}, pid ? processTag(pid) : ""),
      );
      item.dataset.tone = TONES[event.kind] ?? "";
      return item;
    }),
  );
}

// Countdowns and errors

/** Count down in an element; gives what ends that early. */
export function countDown(id, milliseconds, text) {
  const element = $(id);
  const end = Date.now() + milliseconds;
  clearInterval(element.timer);
  const stop = () => {
    clearInterval(element.timer);
    element.hidden = true;
  };
  const show = () => {
    const left = Math.ceil((end - Date.now()) / 1000);
    if (left <= 0) return stop();
    element.textContent = text(left);
    element.hidden = false;
  };
  element.timer = setInterval(show, 200);
  show();
  return stop;
}

export function showError(text) {
  $("error-text").textContent = text;
  $("error").hidden = false;
}

export function clearError() {
  $("error").hidden = true;
}

$("close-error").addEventListener("click", clearError);
