// The connection of ASP.NET Core's client, @microsoft/signalr.
/* global signalR */
import { HubRefusal, alarm, delay } from "./connection.js";

const { HttpTransportType, HubConnectionBuilder, HubConnectionState, LogLevel } = signalR;

const TRANSPORTS = {
  webSockets: HttpTransportType.WebSockets,
  serverSentEvents: HttpTransportType.ServerSentEvents,
  longPolling: HttpTransportType.LongPolling,
};
const GIVE_UP_AFTER = 10 * 60_000;

/** The sentence of a HubException, without what the client puts in front of it. */
function sentence(error) {
  return String(error?.message ?? error ?? "").replace(/^.*?HubException: /s, "");
}

const isFromHub = (error) => String(error?.message).includes("HubException: ");

export function open({ transport, onState, enter }) {
  const connection = new HubConnectionBuilder()
    .withUrl("/hubs/chat", Object.hasOwn(TRANSPORTS, transport) ? { transport: TRANSPORTS[transport] } : {})
    .withAutomaticReconnect({
      nextRetryDelayInMilliseconds({ previousRetryCount, elapsedMilliseconds }) {
        return elapsedMilliseconds > GIVE_UP_AFTER ? null : delay(previousRetryCount);
      },
    })
    .configureLogging(LogLevel.Warning)
    .build();

  let wanted = false; // whether the visitor wants to be connected
  const pause = alarm();

  async function entered() {
    await enter();
    if (connection.state === HubConnectionState.Connected) onState("connected", "");
  }

  connection.onreconnecting((error) => onState("reconnecting", sentence(error) || "The connection was lost."));
  connection.onreconnected(entered);
  connection.onclose((error) => {
    wanted = false;
    onState("disconnected", error ? sentence(error) : "You left.");
  });

  /** Connect, and try again until it works: automatic reconnect is about connections that were open once. */
  async function start() {
    if (wanted) return;
    wanted = true;
    for (let attempt = 1; wanted; attempt++) {
      onState("connecting", "");
      try {
        await connection.start();
        return await entered();
      } catch {
        if (!wanted) return;
        onState("reconnecting", "The server does not answer.");
        await pause.wait(delay(attempt));
      }
    }
  }

  async function stop() {
    wanted = false;
    pause.wake();
    await connection.stop();
    onState("disconnected", "You left.");
  }

  /** Do not wait for the next try. */
  async function hurry() {
    if (connection.state === HubConnectionState.Reconnecting) await stop();
    pause.wake();
    await start();
  }

  const link = {
    on: (method, handler) => connection.on(method, handler),
    onreconnecting: (handler) => connection.onreconnecting(handler),
    onclose: (handler) => connection.onclose(handler),
    send: (...call) => connection.send(...call),
    get connectionId() {
      return connection.connectionId;
    },
    async invoke(...call) {
      try {
        return await connection.invoke(...call);
      } catch (error) {
        throw isFromHub(error) ? new HubRefusal(sentence(error)) : error;
      }
    },
  };
  return { connection: link, start, stop, hurry };
}
