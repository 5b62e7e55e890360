// The SignalR connection, with Microsoft's client: it comes back by itself, and says what state it is in.

const GIVE_UP_AFTER = 15 * 60 * 1000;
const LONGEST_DELAY = 15 * 1000;

/** Milliseconds until the next attempt, or null to give up. Random, so that a restarted server does not get all its clients at once. */
function retryDelay({ previousRetryCount, elapsedMilliseconds }) {
  if (elapsedMilliseconds > GIVE_UP_AFTER) return null;
  const delay = Math.min(500 * 2 ** previousRetryCount, LONGEST_DELAY);
  return delay * (0.5 + Math.random() / 2);
}

/** The sentence of a HubException, without what the client puts around it. */
export function sentence(error) {
  return String(error?.message ?? error).split("HubException: ").pop();
}

export class ChatConnection {
  /**
   * onState(state, detail): "connecting", "connected", "reconnecting" or "disconnected", and why.
   * onReady(isBack): connected, for the first time or again; rooms have to be joined now.
   */
  constructor({ onState, onReady }) {
    this.onState = onState;
    this.onReady = onReady;
    this.isWanted = false;
    this.hub = new signalR.HubConnectionBuilder()
      .withUrl("/hubs/chat")
      .withAutomaticReconnect({ nextRetryDelayInMilliseconds: retryDelay })
      .configureLogging(signalR.LogLevel.Warning)
      .build();
    this.hub.onreconnecting((error) => onState("reconnecting", reason(error)));
    this.hub.onreconnected(() => this.ready(true));
    this.hub.onclose((error) => onState("disconnected", this.isWanted ? reason(error) : "You ended the connection."));
  }

  get id() {
    return this.hub.connectionId;
  }

  get isConnected() {
    return this.hub.state === signalR.HubConnectionState.Connected;
  }

  get isIdle() {
    return this.hub.state === signalR.HubConnectionState.Disconnected && !this.isStarting;
  }

  /** Connect. The client's automatic reconnect is for connections that were open once, so the first attempts are repeated here. */
  async start() {
    this.isWanted = true;
    this.isStarting = true;
    this.onState("connecting", "");
    const since = Date.now();
    for (let attempt = 0; this.isWanted; attempt += 1) {
      try {
        await this.hub.start();
        break;
      } catch (error) {
        const delay = retryDelay({ previousRetryCount: attempt, elapsedMilliseconds: Date.now() - since });
        if (delay === null || !this.isWanted) {
          this.isStarting = false;
          this.onState("disconnected", this.isWanted ? reason(error) : "You ended the connection.");
          return;
        }
        this.onState("connecting", reason(error));
        await new Promise((resolve) => setTimeout(resolve, delay));
      }
    }
    this.isStarting = false;
    if (this.isConnected) await this.ready(false);
  }

  async ready(isBack) {
    this.onState("connected", "");
    await this.onReady(isBack);
  }

  async stop() {
    this.isWanted = false;
    await this.hub.stop();
  }

  on(target, handler) {
    this.hub.on(target, handler);
  }

  invoke(method, ...args) {
    return this.hub.invoke(method, ...args);
  }

  send(method, ...args) {
    return this.hub.send(method, ...args);
  }
}

function reason(error) {
  return error ? sentence(error) : "The server ended the connection.";
}

/**
 * Browsers slow the timers of hidden pages down to one tick a minute, too few pings for the server.
 * A page that holds a lock is left alone.
 */
export function stayAwake() {
  navigator.locks?.request(`chat-${Math.random()}`, () => new Promise(() => {}));
}
