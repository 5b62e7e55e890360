// The page: what the user does goes to the hub, and what the hub says goes into the page.

import { ChatConnection, sentence, stayAwake } from "./connection.js";
import { Log } from "./log.js";
import { paintAvatar, suggestName } from "./names.js";
import { roomLink, setUpDrawer, showPeople, showRooms } from "./sidebar.js";

const $ = (id) => document.getElementById(id);
const { user, longestText } = document.body.dataset;
const TYPING_SHOWN = 4000;
const TYPING_SENT = 2000;
const STATES = { connecting: "Connecting", connected: "Connected", reconnecting: "Reconnecting", disconnected: "Disconnected" };
const LEFT = {
  moved: "went to another room",
  client_closed: "left",
  client_gone: "is gone: page closed or network lost",
  ping_timeout: "lost the network",
  server_shutdown: "is gone: their server process stopped",
  process_lost: "is gone: their server process was lost",
  closed_by_admin: "was disconnected by an operator",
};

let room = document.body.dataset.room;
let name = user || sessionStorage.getItem("nickname") || "";
let isJoined = false;
let unread = 0;

const log = new Log({ scroll: $("scroll"), lines: $("lines"), empty: $("empty"), newer: $("newer") });
const drawer = setUpDrawer($("drawer"), $("veil"), $("open-drawer"), $("close-drawer"));
const connection = new ChatConnection({ onState: showState, onReady: enter });

// State of the connection

function showState(state, detail) {
  $("badge").dataset.state = $("banner").dataset.state = state;
  $("state").textContent = STATES[state];
  $("badge").title = state === "disconnected" ? "Connect" : "End the connection";
  $("banner").hidden = state === "connected" || (state === "connecting" && !detail);
  $("banner-title").textContent = state === "disconnected" ? "Not connected." : "No connection; trying again.";
  $("banner-detail").textContent = detail;
  $("connect").hidden = state !== "disconnected";
  if (state !== "connected") {
    isJoined = false;
    typists.clear();
    showTypists();
  }
  showWhetherSendingWorks();
}

$("badge").addEventListener("click", () => (connection.isIdle ? connection.start() : connection.stop()));
$("connect").addEventListener("click", () => connection.start());

// Rooms and people

/** Enter the room: at first, after a reconnect, and after another name was chosen. */
async function enter(isBack = false) {
  if (!name) {
    refreshPresence();
    askForName();
    return;
  }
  try {
    name = await connection.invoke("Join", room, name);
  } catch (error) {
    showError(sentence(error));
    refreshPresence();
    return;
  }
  isJoined = true;
  showMe();
  log.system(isBack ? "You are back. What was said meanwhile is not shown." : `You joined as ${name}.`);
  showWhetherSendingWorks();
  if (matchMedia("(hover: hover)").matches) $("text").focus();
}

async function goTo(newRoom, { isNew = true } = {}) {
  room = newRoom.trim().toLowerCase();
  if (isNew) history.pushState({}, "", roomLink(room));
  drawer.close();
  hideError();
  log.clear();
  showRoom();
  isJoined = false;
  if (connection.isConnected) await enter();
}

function showRoom() {
  $("room-name").textContent = room;
  $("say").textContent = `python manage.py say ${/^[\w-]+$/.test(room) ? room : `"${room}"`} "Hello"`;
  const login = $("login");
  if (login) login.href = `${login.pathname}?next=${encodeURIComponent(roomLink(room))}`;
  showTitle();
}

function showMe() {
  $("my-name").textContent = name || "Nobody yet";
  paintAvatar($("my-avatar"), name || "?");
}

let isAsking = false;
let isStale = false;

/** Ask who is where. The hub only says that it changed: answers of one connection come in order, so the last one is true. */
async function refreshPresence() {
  isStale = true;
  if (isAsking) return;
  isAsking = true;
  try {
    while (isStale && connection.isConnected) {
      isStale = false;
      const { people, rooms } = await connection.invoke("Presence", room);
      showRooms($("rooms"), rooms, room);
      showPeople($("people"), people, connection.id);
      $("people-count").textContent = people.length || "";
      $("room-note").textContent = people.length === 1 && isJoined ? "Only you are here" : `${people.length} here`;
    }
  } catch (error) {
    if (connection.isConnected) showError(sentence(error));
  } finally {
    isAsking = false;
  }
}

$("rooms").addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (link.dataset.room !== room) goTo(link.dataset.room);
  else drawer.close();
});
$("room-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = $("new-room").value.trim();
  $("room-form").reset();
  if (wanted) goTo(wanted);
});
addEventListener("popstate", () => goTo(new URLSearchParams(location.search).get("room") || "lobby", { isNew: false }));

// Names

function askForName() {
  $("nickname").value = name || suggestName();
  if (!$("nickname-dialog").open) $("nickname-dialog").showModal();
  $("nickname").select();
}

$("dice").addEventListener("click", () => {
  $("nickname").value = suggestName();
  $("nickname").select();
});
$("nickname-form").addEventListener("submit", () => {
  name = $("nickname").value.trim();
  sessionStorage.setItem("nickname", name);
  showMe();
  hideError();
  if (connection.isConnected) enter();
});
$("nickname-dialog").addEventListener("close", showWhetherSendingWorks);
$("rename")?.addEventListener("click", () => {
  drawer.close();
  askForName();
});

// Messages

function showWhetherSendingWorks() {
  $("text").placeholder = isJoined ? `Write to ${room}` : connection?.isConnected && !name ? "Choose a nickname to write" : "Waiting for the connection";
  $("send").disabled = !isJoined || !$("text").value.trim();
}

async function say() {
  const text = $("text").value;
  if ($("send").disabled) return;
  $("send").disabled = true;
  try {
    await connection.invoke("SendMessage", text);
    if ($("text").value === text) $("text").value = "";
    hideError();
  } catch (error) {
    showError(sentence(error));
  }
  showLength();
  showWhetherSendingWorks();
}

function showLength() {
  const length = [...$("text").value.trim()].length;
  $("counter").textContent = length > longestText * 0.8 ? `${length} / ${longestText}` : "";
  $("counter").classList.toggle("over", length > longestText);
}

let typingSentAt = 0;
$("text").addEventListener("input", () => {
  showLength();
  showWhetherSendingWorks();
  if (isJoined && $("text").value && Date.now() - typingSentAt > TYPING_SENT) {
    typingSentAt = Date.now();
    connection.send("Typing");
  }
});
$("text").addEventListener("focus", () => !name && connection.isConnected && askForName());
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    say();
  }
});
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  say();
});

connection.on("messageReceived", (author, text, connectionId) => {
  const isOwn = connectionId !== "" && connectionId === connection.id;
  if (isOwn) typingSentAt = 0;
  stopTyping(author);
  log.message(author, text, { isOwn, key: connectionId || author });
  countUnread();
});
connection.on("announcementReceived", (author, text) => {
  log.announcement(author, text);
  countUnread();
});
connection.on("personJoined", (who) => log.system(`${who} joined.`));
connection.on("personLeft", (who, reason) => {
  stopTyping(who);
  log.system(`${who} ${LEFT[reason] ?? "left"}.`);
});
connection.on("presenceChanged", refreshPresence);

// Who is typing

const typists = new Map();

connection.on("typing", (who) => {
  clearTimeout(typists.get(who));
  typists.set(who, setTimeout(() => stopTyping(who), TYPING_SHOWN));
  showTypists();
});

function stopTyping(who) {
  clearTimeout(typists.get(who));
  if (typists.delete(who)) showTypists();
}

function showTypists() {
  const names = [...typists.keys()];
  $("typing").hidden = names.length === 0;
  $("typing-text").textContent =
    names.length === 1 ? `${names[0]} is typing` : names.length === 2 ? `${names.join(" and ")} are typing` : `${names.length} people are typing`;
}

// Title, errors, small notes

function countUnread() {
  if (document.hidden) unread += 1;
  showTitle();
}

function showTitle() {
  document.title = `${unread ? `(${unread}) ` : ""}${room} · chat on signalr_channels`;
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) unread = 0;
  showTitle();
});

function showError(text) {
  $("error-text").textContent = text;
  $("error").hidden = false;
}

function hideError() {
  $("error").hidden = true;
}

$("close-error").addEventListener("click", () => {
  hideError();
  $("text").focus();
});

let toastTimer;
function toast(text) {
  clearTimeout(toastTimer);
  $("toast").textContent = text;
  $("toast").hidden = false;
  toastTimer = setTimeout(() => ($("toast").hidden = true), 2500);
}

async function copy(text, note) {
  try {
    await navigator.clipboard.writeText(text);
    toast(note);
  } catch {
    toast(text); // no permission, or no secure origin: show it instead
  }
}

$("copy-link").addEventListener("click", () => copy(new URL(roomLink(room), location.href).href, "Link copied"));
$("copy-say").addEventListener("click", () => copy($("say").textContent, "Command copied"));

$("announce-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const data = new FormData(form);
  data.set("room", room);
  drawer.close();
  try {
    const response = await fetch(form.action, { method: "POST", body: data });
    if (response.ok) form.reset();
    else showError(response.status === 403 ? "The login has changed in another tab: reload this page." : await response.text());
  } catch {
    showError("The announcement did not reach the server.");
  }
});

showRoom();
showMe();
stayAwake();
connection.start();
