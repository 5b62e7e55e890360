// The page: two connections, and the buttons that trouble one of them.
import { openClient } from "./client.js";
import { openFeed } from "./feed.js";
import * as view from "./view.js";

const { $ } = view;
const { visit, actions, transport } = document.body.dataset;
const ofVisit = `${actions}${visit}/`;

// The client

let stopCountdown = () => {};

const client = openClient({
  visit,
  onEvent: view.addEvent,
  onState(state) {
    view.showState(state, client);
    stopCountdown();
    if (state === "reconnecting") {
      stopCountdown = view.countDown("gives-up", client.disconnectTimeout, (left) => `The client gives up in ${left} s.`);
    }
  },
});

$("client-form").addEventListener("submit", (event) => {
  event.preventDefault();
  client.start($("transport").value);
});
$("stop").addEventListener("click", () => client.stop());
// The client itself says goodbye on "unload", which browsers are giving up.
addEventListener("pagehide", () => client.stop());

const showHint = () => ($("frame-hint").hidden = $("transport").value !== "foreverFrame");
if ([...$("transport").options].some((option) => option.value === transport)) $("transport").value = transport;
$("transport").addEventListener("change", showHint);
showHint();

// The buttons

/** Do something on the server. Gives the answer, or null if there was none. */
async function post(url, data = {}) {
  const headers = { "X-CSRFToken": document.querySelector("[name=csrfmiddlewaretoken]").value };
  return fetch(url, { method: "POST", body: new URLSearchParams(data), headers }).catch(() => null);
}

/** The same, and say why if it was not done. Gives whether it was. */
async function act(url, data) {
  const answer = await post(url, data);
  if (answer?.ok) view.clearError();
  else if (!answer) view.showError("The server does not answer.");
  else if (answer.headers.get("Content-Type")?.startsWith("text/plain")) view.showError(await answer.text());
  else view.showError(`The server refuses that with status ${answer.status}. Does it help to load the page again?`);
  return Boolean(answer?.ok);
}

$("network-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const how = $("how").value;
  const seconds = Number($("seconds").value);
  const what = how === "cut" ? "cut" : "silent";
  const done = act(`${ofVisit}${how}/`, { seconds });
  view.addNote("client-events", `You let the network be ${what} for ${seconds} s.`);
  if (await done) view.countDown("failing", seconds * 1000, (left) => `The network is ${what} for ${left} s.`);
});

let sent = 1;
$("say-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("text").value;
  if ((await act(`${ofVisit}say/`, { text })) && text === `Message ${sent}`) $("text").value = `Message ${++sent}`;
});
$("close").addEventListener("click", () => act(`${ofVisit}close/`));

$("kill-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = await post(`${actions}kill/`, { process: server.process });
  if (answer) view.showError(await answer.text()); // the dead give none
});

// The server

let askedAt = 0;
async function showHistory() {
  const asked = ++askedAt;
  const answer = await fetch(`${ofVisit}history/`).catch(() => null); // the server is away, and the feed calls again when it is back
  if (answer?.ok && asked === askedAt) view.showHistory(await answer.json());
}

const server = { process: null, answers: false };
openFeed({
  visit,
  onServer(process) {
    if (process === null && server.answers) view.addNote("server-events", `Process ${server.process} does not answer.`);
    if (process !== null && server.process !== null && !server.answers) view.addNote("server-events", `Process ${process} answers.`);
    server.answers = process !== null;
    server.process = process ?? server.process;
    view.showProcess(process);
  },
  onCallback: view.addCallback,
  onHistory: showHistory,
});
