// The SignalR half of the page: one connection that is kept open. What is said over it is room.js's business.
/* global signalR */
const { HttpTransportType, HubConnectionBuilder, HubConnectionState, LogLevel } = signalR;

const TRANSPORTS = {
  webSockets: HttpTransportType.WebSockets,
  serverSentEvents: HttpTransportType.ServerSentEvents,
  longPolling: HttpTransportType.LongPolling,
};
const LONGEST_WAIT = 10_000;
const GIVE_UP_AFTER = 10 * 60_000;

/** How long to wait before the next try: at once, 1 s, 2 s, 4 s, …, and not all pages at the same moment. */
function delay(attempt) {
  return attempt === 0 ? 0 : Math.min(2 ** (attempt - 1) * 1000, LONGEST_WAIT) * (0.8 + 0.4 * Math.random());
}

/** The sentence of a HubException, without what the client puts in front of it. */
export function sentence(error) {
  return String(error?.message ?? error ?? "").replace(/^.*?HubException: /s, "");
}

/** Whether the hub said no; anything else is about the connection. */
export function isFromHub(error) {
  return String(error?.message).includes("HubException: ");
}

/**
 * Make a connection.
 *
 * @param transport one of TRANSPORTS, or anything else to let the client choose
 * @param onState called with "connecting", "connected", "reconnecting" or "disconnected", and a sentence that says why
 * @param enter called after each beginning of a connection, to tell the server what it forgot with the one before
 */
export function openConnection({ transport, onState, enter }) {
  const connection = new HubConnectionBuilder()
    .withUrl("/hubs/chat", transport in TRANSPORTS ? { transport: TRANSPORTS[transport] } : {})
    .withAutomaticReconnect({
      nextRetryDelayInMilliseconds({ previousRetryCount, elapsedMilliseconds }) {
        return elapsedMilliseconds > GIVE_UP_AFTER ? null : delay(previousRetryCount);
      },
    })
    .configureLogging(LogLevel.Warning)
    .build();

  let wanted = false; // whether the visitor wants to be connected
  let wake = () => {};

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
        await new Promise((resolve) => {
          wake = resolve;
          setTimeout(resolve, delay(attempt));
        });
      }
    }
  }

  async function stop() {
    wanted = false;
    wake();
    await connection.stop();
    onState("disconnected", "You left.");
  }

  /** Do not wait for the next try. */
  async function hurry() {
    if (connection.state === HubConnectionState.Reconnecting) await stop();
    wake();
    await start();
  }

  return { connection, start, stop, hurry };
}
