// The way these tests connect: a transport and a hub protocol, from the environment. Every file is run once for each way that it is meant for.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import signalR from '@microsoft/signalr';
import messagePack from '@microsoft/signalr-protocol-msgpack';
import { Inbox, Queue, setting, statesOf, within } from '../helpers.mjs';

const { HttpTransportType } = signalR;
const logLevel = signalR.LogLevel[process.env.SIGNALR_LOG ?? 'None'];
const TRANSPORTS = {
  webSockets: HttpTransportType.WebSockets,
  direct: HttpTransportType.WebSockets, // without negotiation
  serverSentEvents: HttpTransportType.ServerSentEvents,
  longPolling: HttpTransportType.LongPolling,
};

export const EVERY_WAY = [
  'webSockets json', 'webSockets messagepack', 'direct json', 'direct messagepack', 'serverSentEvents json', 'longPolling json',
  'longPolling messagepack',
];
export const WAY = process.env.WAY ?? '';
export const [TRANSPORT, PROTOCOL] = WAY.split(' ');
export const isBinary = PROTOCOL === 'messagepack';

// What goes over HTTP: the method of each request, and the status and size of its answer.
class RecordingHttpClient extends signalR.DefaultHttpClient {
  requests = new Queue('an HTTP request');

  async send(request) {
    const response = await super.send(request);
    const { content } = response;
    this.requests.push({ method: request.method, status: response.statusCode, size: content?.length ?? content?.byteLength ?? 0 });
    return response;
  }
}

export function build(url, { way = WAY, delays, stateful = false, token, headers = {}, configure = () => {} } = {}) {
  const [transport, protocol] = way.split(' ');
  const httpClient = new RecordingHttpClient(signalR.NullLogger.instance);
  const options = { transport: TRANSPORTS[transport], skipNegotiation: transport === 'direct', headers, httpClient };
  if (token !== undefined) options.accessTokenFactory = token;
  const builder = new signalR.HubConnectionBuilder().withUrl(url, options).configureLogging(logLevel);
  if (protocol === 'messagepack') builder.withHubProtocol(new messagePack.MessagePackHubProtocol());
  if (delays !== undefined) builder.withAutomaticReconnect(delays);
  if (stateful) builder.withStatefulReconnect();
  const connection = builder.build();
  configure(connection);
  return { connection, inbox: new Inbox(connection), states: statesOf(connection), requests: httpClient.requests };
}

// A started connection that is stopped when the test ends.
export async function connect(t, url, options) {
  const client = build(url, options);
  t.after(() => client.connection.stop());
  await within(client.connection.start(), 'the start of a connection');
  return { ...client, id: await client.connection.invoke('GetConnectionId') };
}

// A client (10.0) that is stopped while it posts never sends its Close; the result of a call may come before its POST is answered.
export async function stop(connection) {
  await within(connection.send('Nothing'), 'the answer to a POST');
  await within(connection.stop(), 'the stop');
}

export const call = (connection, ...args) => within(connection.invoke(...args), `an answer to ${args[0]}`);

// Everything a stream gives: its items, and how it ended.
export function collect(stream, onItem = () => {}) {
  const items = [];
  let subscription;
  const ended = new Promise((resolve) => {
    subscription = stream.subscribe({
      next: (item) => {
        items.push(item);
        onItem(items.length);
      },
      error: (error) => resolve(error.message),
      complete: () => resolve('complete'),
    });
  });
  return { items, subscription, ended: within(ended, 'the end of a stream') };
}

export const range = (length) => Array.from({ length }, (_, i) => i);

// Proxies to a port, in a process of their own. It ends with this one, since its input does then.
let commands;
let answers;
let lastCommand = 0;

function obey(command) {
  if (commands === undefined) {
    commands = spawn(setting('PYTHON'), ['-m', 'tests.proxy'], { cwd: setting('ROOT'), stdio: ['pipe', 'pipe', 'inherit'] });
    answers = new Map();
    createInterface({ input: commands.stdout }).on('line', (line) => {
      const answer = JSON.parse(line);
      answers.get(answer.id)(answer);
      answers.delete(answer.id);
    });
    // Neither the process nor its pipes keep this one alive.
    for (const handle of [commands, commands.stdin, commands.stdout]) handle.unref();
  }
  lastCommand += 1;
  const id = lastCommand;
  const answered = new Promise((resolve) => answers.set(id, resolve));
  commands.stdin.write(`${JSON.stringify({ id, ...command })}\n`);
  return within(answered, `an answer of the proxy to ${command.do}`).then((answer) => {
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer;
  });
}

export class Proxy {
  #port;

  static async to(t, site) {
    const proxy = new Proxy();
    const target = new URL(site);
    proxy.#port = (await obey({ do: 'open', target: Number(target.port) })).port;
    proxy.url = `http://127.0.0.1:${proxy.#port}`;
    t.after(() => proxy.do('stop'));
    return proxy;
  }

  // A method of the proxy by its Python name; the answer says how many connections it has had, and how many are open.
  do(name, rest = {}) {
    return obey({ do: name, port: this.#port, ...rest });
  }
}
