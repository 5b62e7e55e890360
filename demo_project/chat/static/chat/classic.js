// The connection of ASP.NET SignalR 2's client, the jQuery plugin.
/* global jQuery */
import { HubRefusal, alarm, delay } from "./connection.js";

const TRANSPORTS = ["webSockets", "serverSentEvents", "longPolling"]; // the fourth, foreverFrame, is for browsers without event streams
const STATES = jQuery.signalR.connectionState;

export function open({ transport, onState, enter }) {
  const connection = jQuery.hubConnection("/signalr", { useDefaultPath: false });
  const hub = connection.createHubProxy("chatHub");
  const pause = alarm();
  let wanted = false; // whether the visitor wants to be connected
  let attempt = 0;

  async function entered() {
    attempt = 0;
    await enter();
    if (connection.state === STATES.connected) onState("connected", "");
  }

  async function connect() {
    onState(attempt ? "reconnecting" : "connecting", attempt ? "The server does not answer." : "");
    await pause.wait(delay(attempt++));
    if (!wanted || connection.state !== STATES.disconnected) return;
    // If this fails, "disconnected" is raised as well, and tries again.
    connection.start({ transport: TRANSPORTS.includes(transport) ? transport : "auto" }).then(entered, () => {});
  }

  connection.reconnecting(() => onState("reconnecting", "The connection was lost."));
  // The server knows who this is, and sends what was said meanwhile. Not if it is another one than before, so enter again.
  connection.reconnected(entered);
  connection.disconnected(() => {
    if (wanted) connect(); // the client gave up, and goes on with a new connection only
    else onState("disconnected", "You left.");
  });

  async function start() {
    if (wanted) return;
    wanted = true;
    attempt = 0;
    await connect();
  }

  async function stop() {
    wanted = false;
    pause.wake();
    connection.stop();
    onState("disconnected", "You left.");
  }

  /** Do not wait for the next try. */
  async function hurry() {
    if (connection.state === STATES.reconnecting) connection.stop();
    else pause.wake();
    await start();
  }

  // The client itself says goodbye on "unload", which browsers are giving up.
  addEventListener("pagehide", () => connection.stop());

  const link = {
    on: (method, handler) => hub.on(method, handler),
    onreconnecting: (handler) => connection.reconnecting(handler),
    onclose: (handler) => connection.disconnected(handler),
    async send(...call) {
      await hub.invoke(...call);
    },
    get connectionId() {
      return connection.id;
    },
    async invoke(...call) {
      try {
        return await hub.invoke(...call);
      } catch (error) {
        throw error?.source === "HubException" ? new HubRefusal(error.message) : error;
      }
    },
  };
  return { connection: link, start, stop, hurry };
}
