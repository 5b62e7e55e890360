// The classic clients for JavaScript in Node. Microsoft's (jquery and signalr) runs in pages of jsdom.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Script } from 'node:vm';
import EventSource from 'eventsource';
import { JSDOM, VirtualConsole } from 'jsdom';
import { Inbox, Queue, within } from './helpers.mjs';

export const TRANSPORTS = ['webSockets', 'serverSentEvents', 'longPolling'];
export const TRANSPORT = process.env.WAY ?? '';

const require = createRequire(import.meta.url);
export const [JQUERY, SIGNALR] = ['jquery/dist/jquery.js', 'signalr/jquery.signalR.js'].map(
  (name) => new Script(readFileSync(require.resolve(name), 'utf8'), { filename: name }),
);

// A response that breaks off is an error to browsers; an XMLHttpRequest of jsdom (26) would wait for the rest of it.
const { prototype: requestOfJsdom } = require('jsdom/lib/jsdom/living/helpers/http-request.js');
const { _processResponse: processResponse } = requestOfJsdom;
requestOfJsdom._processResponse = function processWholeResponse(response) {
  response.once('close', () => {
    if (!response.complete && this.listenerCount('error') > 0) this.emit('error', new Error('the response broke off'));
  });
  processResponse.call(this, response);
};

// Events of the package have no phase, by which the client tells a lost stream. In browsers it is 2: the event is at its target.
class PageEventSource extends EventSource {
  addEventListener(type, listener) {
    super.addEventListener(type, function atTarget(event) {
      listener.call(this, Object.assign(event, { eventPhase: 2 }));
    });
  }
}

const windows = [];

// The window of a page of an origin, with all that the clients look for in a browser and, of them, these scripts.
export function openPage(origin, scripts = [JQUERY, SIGNALR]) {
  const virtualConsole = new VirtualConsole();
  // What the network does to a page is no news here; what its scripts do is.
  virtualConsole.on('jsdomError', (error) => error.type === 'unhandled exception' && console.error(error.message));
  const dom = new JSDOM('', { url: `${origin}/`, runScripts: 'dangerously', resources: 'usable', virtualConsole });
  const { window } = dom;
  window.EventSource = PageEventSource;
  window.fetch = (url, options) => {
    const answer = fetch(new URL(url, window.location.href), options);
    answer.catch(() => {}); // the client sends /abort this way and looks no further
    return answer;
  };
  for (const script of scripts) script.runInContext(dom.getInternalVMContext());
  windows.push(window);
  // Instead of three seconds.
  if (scripts.includes(SIGNALR)) window.jQuery.signalR.transports.longPolling.reconnectDelay = 100;
  return window;
}

const pages = new Map();

// One page for all tests of a file, for those that need nothing of their own.
export function sharedPage(origin) {
  if (!pages.has(origin)) pages.set(origin, openPage(origin));
  return pages.get(origin);
}

// What is left in pages, such as the deadlines of requests, would keep the process waiting.
export function closePages() {
  for (const window of windows) window.close();
}

// What happens to a connection, with the texts of errors.
export function watch(connection) {
  const states = new Queue('a change of state');
  for (const state of ['connectionSlow', 'reconnecting', 'reconnected', 'disconnected']) connection[state](() => states.push(state));
  const errors = [];
  connection.error((error) => errors.push(error.message));
  connection.reconnectDelay = 100; // instead of two seconds
  return { states, errors };
}

export async function start(t, connection, options = {}) {
  t.after(() => connection.stop());
  await within(connection.start({ transport: TRANSPORT || 'webSockets', ...options }), 'the start of a connection');
}

// What a hub proxy is told. Tests run side by side on one site, so only those that ask for it hear what others send to all.
export function inboxOf(proxy, { hearsAll = false } = {}) {
  return new Inbox({
    on(name, handler) {
      proxy.on(name, (kind, text) => {
        if (hearsAll || !['ToAll', 'ToOthers'].includes(kind)) handler(kind, text);
      });
    },
  });
}

// A started hub connection that is stopped when the test ends; `hubs` are further hubs that it listens to.
export async function connect(t, url, { transport, user, window = sharedPage(new URL(url).origin), hubs = [], hearsAll } = {}) {
  const connection = window.jQuery.hubConnection(url, { useDefaultPath: false, qs: user === undefined ? null : { user } });
  const watched = watch(connection);
  const peer = connection.createHubProxy('peer');
  const inbox = inboxOf(peer, { hearsAll });
  const proxies = {};
  for (const name of hubs) {
    proxies[name] = connection.createHubProxy(name);
    proxies[name].on('message', () => {});
  }
  await start(t, connection, transport === undefined ? {} : { transport });
  return { connection, peer, inbox, id: connection.id, ...watched, ...proxies };
}

// What a method reports: as the call hears it, of which the client drops what comes after the result, and all that arrives.
export async function progress(connection, proxy, ...args) {
  const reports = [];
  const arrived = new Queue('a report of progress');
  connection.received((data) => data?.P !== undefined && arrived.push(data.P.D));
  const result = await within(proxy.invoke(...args).progress((value) => reports.push(value)), `an answer to ${args[0]}`);
  return { reports, arrived, result };
}

// The result of a call, as a value of this realm: pages have an Object and an Array of their own.
export async function call(proxy, ...args) {
  return structuredClone(await within(proxy.invoke(...args), `an answer to ${args[0]}`));
}

// The error of a call.
export async function refusal(proxy, ...args) {
  try {
    await within(proxy.invoke(...args), `an answer to ${args[0]}`);
  } catch (error) {
    return { text: error.message, source: error.source, data: structuredClone(error.data) };
  }
  throw new Error(`${args[0]} should have failed`);
}
