// The SignalR half of the page: one connection that is kept open. What is said over it is room.js's business.
// core.js and classic.js do the same with the clients of the two generations.

const LONGEST_WAIT = 10_000;

/** The hub said no, and this is why; any other error is about the connection. */
export class HubRefusal extends Error {}

/** How long to wait before the next try: at once, 1 s, 2 s, 4 s, …, and not all pages at the same moment. */
export function delay(attempt) {
  return attempt === 0 ? 0 : Math.min(2 ** (attempt - 1) * 1000, LONGEST_WAIT) * (0.8 + 0.4 * Math.random());
}

/** A pause that can be cut short: `wait(milliseconds)` and `wake()`. */
export function alarm() {
  let wake = () => {};
  return {
    wait: (milliseconds) =>
      new Promise((resolve) => {
        wake = resolve;
        setTimeout(resolve, milliseconds);
      }),
    wake: () => wake(),
  };
}

/**
 * Make a connection.
 *
 * @param client "classic" for the client of ASP.NET SignalR 2, anything else for that of ASP.NET Core
 * @param options
 *   transport: one that the client has, or anything else to let it choose;
 *   onState: called with "connecting", "connected", "reconnecting" or "disconnected", and a sentence that says why;
 *   enter: called after each beginning of a connection, to tell the server what it forgot with the one before
 * @returns {connection, start, stop, hurry}, where connection has on, invoke, send, onreconnecting, onclose and connectionId
 */
export async function openConnection(client, options) {
  const { open } = client === "classic" ? await import("./classic.js") : await import("./core.js");
  return open(options);
}
