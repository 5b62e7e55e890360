// The classic connection of the page: the jQuery client as it comes, and all it has to say.
/* global jQuery */

const NAMES = { 0: "connecting", 1: "connected", 2: "reconnecting", 4: "disconnected" };
const { EventSource } = window;

function describeError(error) {
  const status = error.context?.status;
  return error.message + (status ? ` (status ${status})` : "");
}

/**
 * Make a client.
 *
 * @param visit goes along with every request, so that the server knows which page the client is of
 * @param onEvent called with the name of each event, what there is to say about it, and for messages when the server sent it
 * @param onState called with the name of the new state
 */
export function openClient({ visit, onEvent, onState }) {
  const connection = jQuery.hubConnection("/signalr", { useDefaultPath: false, qs: { visit } });
  // To listen to a hub is what subscribes to it: without that, none of its callbacks would run.
  connection.createHubProxy("lifetimeHub").on("message", (text, sentAt) => onEvent("received", `message: ${text}`, sentAt));

  const seconds = (milliseconds) => `${Math.round(milliseconds / 100) / 10} s`;
  let stopping = false;

  connection.starting(() => onEvent("starting", "negotiates"));
  connection.stateChanged(({ oldState, newState }) => {
    onEvent("stateChanged", `${NAMES[oldState]} → ${NAMES[newState]}`);
    onState(NAMES[newState]);
  });
  connection.connectionSlow(() => onEvent("connectionSlow", "nothing heard for some time, still in use"));
  connection.reconnecting(() => onEvent("reconnecting", `tries to come back, for ${seconds(connection.disconnectTimeout)}`));
  connection.reconnected(() => onEvent("reconnected", "with the same connection id"));
  connection.error((error) => onEvent("error", describeError(error)));
  connection.disconnected(() => {
    const why = stopping ? "stop() was called" : connection.lastError?.message ?? "without an error";
    stopping = false;
    onEvent("disconnected", why);
  });

  return {
    start(transport) {
      // With EventSource there, the client declines to use a forever frame.
      window.EventSource = transport === "foreverFrame" ? undefined : EventSource;
      // A failure is an "error" and a "disconnected" event.
      connection.start({ transport }).catch(() => {});
    },
    stop() {
      stopping = NAMES[connection.state] !== "disconnected";
      connection.stop();
    },
    get id() {
      return connection.id ?? "";
    },
    get transport() {
      return connection.transport?.name ?? "";
    },
    /** How long it tries to come back, in milliseconds. */
    get disconnectTimeout() {
      return connection.disconnectTimeout;
    },
  };
}
