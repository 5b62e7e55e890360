// The page: reads what the visitor does, asks the hub, shows what the hub says.
import { HubRefusal, openConnection } from "./connection.js";
import { Room } from "./room.js";
import { nicknameDialog } from "./nickname.js";
import * as view from "./view.js";

const { $ } = view;
const { user, client, transport, longestMessage } = document.body.dataset;
const TYPING_INTERVAL = 2000;

let nickname = user || sessionStorage.getItem("nickname") || "";
const { connection, start, stop, hurry } = await openConnection(client, { transport, onState: view.showState, enter });
const room = new Room(connection, document.body.dataset.room);

// Entering

async function enter() {
  try {
    await room.join(nickname);
  } catch (error) {
    if (!(error instanceof HubRefusal)) return; // the connection was lost again, which others deal with
    view.showError(error.message);
    if (room.name !== "lobby") room.name = "lobby";
    else await askNickname(error.message);
    await enter();
  }
  if (roomInAddress() !== room.name) history.replaceState(null, "", pathOf(room.name));
}

async function askNickname(problem = "") {
  nickname = await nicknameDialog(nickname, problem);
  sessionStorage.setItem("nickname", nickname);
  view.showMe(nickname);
}

async function goTo(name) {
  const wanted = name.trim().toLowerCase().replace(/\s+/g, "-");
  view.closeDrawer();
  if (!wanted || wanted === room.name) return;
  try {
    await room.moveTo(wanted, nickname);
    if (roomInAddress() !== wanted) history.pushState(null, "", pathOf(wanted));
    view.clearError();
  } catch (error) {
    if (roomInAddress() !== room.name) history.replaceState(null, "", pathOf(room.name));
    view.showError(error.message);
  }
}

const roomInAddress = () => new URLSearchParams(location.search).get("room") ?? "lobby";

function pathOf(name) {
  const query = new URLSearchParams(location.search);
  query.set("room", name);
  return `?${query}`;
}

$("rooms").addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  goTo(link.dataset.room);
});
$("room-form").addEventListener("submit", (event) => {
  event.preventDefault();
  goTo($("new-room").value);
  event.target.reset();
});
addEventListener("popstate", () => goTo(roomInAddress()));

// Writing

let typedAt = 0;
const text = $("text");

text.addEventListener("input", () => {
  view.showLength(text.value.length, Number(longestMessage));
  if (text.value.trim() && Date.now() - typedAt > TYPING_INTERVAL && room.isIn) {
    typedAt = Date.now();
    room.typing();
  }
});
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("composer").requestSubmit();
  }
});
$("composer").addEventListener("submit", async (event) => {
  event.preventDefault();
  const message = text.value;
  if (!message.trim()) return;
  try {
    await room.say(message);
    if (text.value === message) text.value = "";
    typedAt = 0;
    view.clearError();
  } catch (error) {
    view.showError(error.message);
  }
  view.showLength(text.value.length, Number(longestMessage));
  text.focus();
});

// Tools

$("announce").addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = new FormData(event.target);
  body.set("room", room.name);
  const answer = await fetch(event.target.action, { method: "POST", body }).catch((error) => error);
  view.closeDrawer();
  if (answer.ok) view.clearError();
  else view.showError(answer.status === 400 ? await answer.text() : "The view could not be reached.");
});
for (const [id, value] of Object.entries({ client, transport })) {
  const select = $(id);
  select.value = [...select.options].some((option) => option.value === value) ? value : "";
  select.addEventListener("change", () => {
    const query = new URLSearchParams(location.search);
    if (select.value) query.set(id, select.value);
    else query.delete(id);
    location.search = query;
  });
}
$("disconnect").addEventListener("click", stop);
$("connect").addEventListener("click", hurry);
addEventListener("online", () => view.isWaiting() && hurry());
$("rename")?.addEventListener("click", async () => {
  await askNickname();
  if (room.isIn) await enter();
});
$("copy-link").addEventListener("click", () => view.copy(new URL(`?room=${encodeURIComponent(room.name)}`, location.href).href, "Link copied"));
$("copy-say").addEventListener("click", () => view.copy($("say").textContent, "Command copied"));

// Begin

view.showMe(nickname);
view.showRoom(room.name);
if (!nickname) await askNickname();
await start();
