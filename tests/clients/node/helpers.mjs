// What the tests have in common. Every wait has a deadline.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createConnection } from 'node:net';
import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import signalR from '@microsoft/signalr';

export const { HttpTransportType, HubConnectionState } = signalR;

const DEADLINE = 15_000;
const NodeWebSocket = createRequire(createRequire(import.meta.url).resolve('@microsoft/signalr'))('ws');
const logLevel = signalR.LogLevel[process.env.SIGNALR_LOG ?? 'None'];

export function setting(name) {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: these tests are run by test_node.py`);
  return value;
}

export function unique(name) {
  return `${name}-${randomBytes(4).toString('hex')}`;
}

// Waits

export async function within(promise, what, milliseconds = DEADLINE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${milliseconds} ms went by without: ${what}`)), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

// Things that arrive one by one, for whoever asks next.
export class Queue {
  #what;
  #items = [];
  #waiting = [];

  constructor(what) {
    this.#what = what;
  }

  push(item) {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#items.push(item);
    else waiting(item);
  }

  async next() {
    if (this.#items.length > 0) return this.#items.shift();
    return within(new Promise((resolve) => this.#waiting.push(resolve)), this.#what);
  }

  async nextWhere(isWanted) {
    for (;;) {
      const item = await this.next();
      if (isWanted(item)) return item;
    }
  }
}

// The messages of one connection as `kind: text`.
export class Inbox {
  #queue = new Queue('a message');

  constructor(connection) {
    connection.on('Message', (kind, text) => this.#queue.push(`${kind}: ${text}`));
  }

  next() {
    return this.#queue.next();
  }

  // All that came before the one with this text. Messages of one sender keep their order, so what is missing was not sent here.
  async before(text) {
    const found = [];
    for (;;) {
      const message = await this.next();
      if (message.endsWith(`: ${text}`)) return found;
      found.push(message);
    }
  }
}

// Connections

// A web socket that shows every frame the server sent, and the close code at its end.
function recordingWebSocket(frames, endings) {
  return class extends NodeWebSocket {
    constructor(...args) {
      super(...args);
      // Not by addEventListener: the client's own assignment to onmessage would remove these.
      this.on('message', (data) => frames.push(data));
      this.on('close', (code) => endings.push(code));
    }
  };
}

// What becomes of a connection from now on.
export function statesOf(connection) {
  const states = new Queue('a change of state');
  connection.onreconnecting((error) => states.push({ state: 'reconnecting', error: error?.message }));
  connection.onreconnected((id) => states.push({ state: 'reconnected', id }));
  connection.onclose((error) => states.push({ state: 'closed', error: error?.message }));
  return states;
}

export function build(url, { direct = false, headers = {}, delays, configure = () => {} } = {}) {
  const frames = new Queue('a frame');
  const endings = new Queue('the end of the web socket');
  const builder = new signalR.HubConnectionBuilder()
    .withUrl(url, {
      transport: HttpTransportType.WebSockets,
      skipNegotiation: direct,
      headers,
      WebSocket: recordingWebSocket(frames, endings),
    })
    .configureLogging(logLevel);
  if (delays !== undefined) builder.withAutomaticReconnect(delays);
  const connection = builder.build();
  configure(connection);
  return { connection, inbox: new Inbox(connection), frames, endings, states: statesOf(connection) };
}

// A started connection that is stopped when the test ends.
export async function connect(t, url, options) {
  const client = build(url, options);
  t.after(() => client.connection.stop());
  await within(client.connection.start(), 'the start of a connection');
  return { ...client, id: await client.connection.invoke('GetConnectionId') };
}

export async function failure(promise) {
  try {
    await within(promise, 'an answer');
  } catch (error) {
    return error.message;
  }
  throw new Error('it should have failed');
}

// The site

export async function request(url, options) {
  const response = await fetch(url, options);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return response;
}

// A login with Django's session cookie: the headers to connect with, and the user's primary key.
export async function logIn(site, user, { staff = false } = {}) {
  const response = await request(`${site}/login?user=${user}${staff ? '&staff=1' : ''}`, { method: 'POST' });
  const cookie = response.headers.getSetCookie()[0].split(';')[0];
  return { headers: { Cookie: cookie }, pk: (await response.json()).pk };
}

// A line of the site's log, once it is there.
export async function logLine(site, isWanted) {
  const deadline = Date.now() + DEADLINE;
  for (;;) {
    const lines = await (await request(`${site}/events`)).json();
    const line = lines.find(isWanted);
    if (line !== undefined) return line;
    if (Date.now() > deadline) throw new Error(`not in the log: ${isWanted}`);
    await new Promise((resolve) => setTimeout(resolve, 50)); // the log tells nobody of new lines
  }
}

// The history of a connection that ends, once its end is written (by each process in its own time): kinds of events, with their reason.
export async function historyOf(site, id) {
  const deadline = Date.now() + DEADLINE;
  for (;;) {
    const rows = await (await request(`${site}/history?connection=${encodeURIComponent(id)}`)).json();
    const events = rows.map(([kind, reason]) => (reason ? `${kind} ${reason}` : kind));
    if (events.some((event) => event.startsWith('disconnected'))) return events;
    if (Date.now() > deadline) throw new Error(`no end of ${id} in the history: ${events}`);
    await new Promise((resolve) => setTimeout(resolve, 50)); // the database tells nobody of new rows
  }
}

// Processes

// A server process of our own: `command` as JSON in the environment, listening on `port`.
export class ServerProcess {
  #command = JSON.parse(setting('SERVER_COMMAND'));
  #port = Number(setting('SERVER_PORT'));
  #process;

  url = `http://127.0.0.1:${this.#port}`;

  async start() {
    this.#process = spawn(this.#command[0], this.#command.slice(1), { stdio: ['ignore', 'inherit', 'inherit'] });
    const deadline = Date.now() + 30_000;
    while (!(await this.#listens())) {
      if (this.#process.exitCode !== null) throw new Error('the server ended at once');
      if (Date.now() > deadline) throw new Error('the server does not listen');
      await new Promise((resolve) => setTimeout(resolve, 50)); // nothing tells when a process listens
    }
  }

  async end(signal) {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exit = once(this.#process, 'exit');
    this.#process.kill(signal);
    await within(exit, 'the end of the server process');
  }

  #listens() {
    return new Promise((resolve) => {
      const socket = createConnection(this.#port, '127.0.0.1');
      socket.once('connect', () => socket.destroy(resolve(true)));
      socket.once('error', () => resolve(false));
    });
  }
}

// Runs Python code with the site's settings, outside of any server process.
export async function runPython(code) {
  const child = spawn(setting('PYTHON'), ['-c', code], { stdio: ['ignore', 'inherit', 'inherit'] });
  const [status] = await within(once(child, 'exit'), 'the end of a Python process', 30_000);
  if (status !== 0) throw new Error(`Python ended with ${status}`);
}
