// Two server processes behind a balancer that sends every request to the next one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import signalR from '@microsoft/signalr';
import { MessagePackHubProtocol } from '@microsoft/signalr-protocol-msgpack';
import { failure, historyOf, setting, unique, within } from './helpers.mjs';
import { connect, stop } from './transports/way.mjs';

const site = setting('PEER_URL');
const { HttpTransportType } = signalR;

async function open(t, transport, { protocol = new signalR.JsonHubProtocol(), stateful = false } = {}) {
  const builder = new signalR.HubConnectionBuilder()
    .withUrl(`${site}/peer`, { transport })
    .withHubProtocol(protocol)
    .configureLogging(signalR.LogLevel.None);
  if (stateful) builder.withStatefulReconnect();
  const connection = builder.build();
  t.after(() => connection.stop());
  await within(connection.start(), 'the start of a connection');
  return connection;
}

async function exercise(t, transport, options) {
  const [one, two] = [await open(t, transport, options), await open(t, transport, options)];
  const heard = [];
  two.on('Message', (kind, text) => heard.push(text));
  for (let i = 0; i < 20; i++) assert.equal(await one.invoke('Echo', `${i}`), `${i}`);
  assert.equal((await one.invoke('Big', 300_000)).length, 300_000);
  const group = unique('group');
  await two.invoke('Join', group);
  for (let i = 0; i < 10; i++) await one.invoke('ToGroup', group, `${i}`);
  await two.invoke('ToGroup', group, 'end');
  await within(
    (async () => {
      while (!heard.includes('end')) await two.invoke('Nothing');
    })(),
    'the messages to the group',
  );
  assert.deepEqual(heard.slice(0, 10), [...Array(10).keys()].map(String));
  two.on('Ask', (n) => n + 1);
  assert.equal(await one.invoke('AskClient', two.connectionId, 41), 42);
  const items = [];
  await within(
    new Promise((complete, error) => one.stream('Count', 200, 0).subscribe({ next: (item) => items.push(item), complete, error })),
    'a stream',
  );
  assert.equal(items.length, 200);
  assert.match(await failure(one.invoke('FailHub', 'no')), /HubException: no/);
}

test('long polling in JSON', (t) => exercise(t, HttpTransportType.LongPolling));

test('long polling in MessagePack', (t) => exercise(t, HttpTransportType.LongPolling, { protocol: new MessagePackHubProtocol() }));

test('server-sent events', (t) => exercise(t, HttpTransportType.ServerSentEvents));

test('web sockets', (t) => exercise(t, HttpTransportType.WebSockets));

test('stateful reconnect on another process', async (t) => {
  const connection = await open(t, HttpTransportType.WebSockets, { stateful: true });
  const id = connection.connectionId;
  let closed = false;
  connection.onclose(() => (closed = true));
  const heard = [];
  connection.on('Message', (kind, text) => heard.push(text));
  for (let round = 0; round < 4; round++) {
    for (let i = 0; i < 5; i++) await connection.send('ToCaller', `${round}.${i}`);
    // The next socket reaches the other process.
    connection.connection.transport._webSocket.terminate();
    assert.equal(await within(connection.invoke('GetConnectionId'), 'an answer after the cut'), id);
  }
  assert.equal(closed, false);
  assert.deepEqual(
    heard,
    [...Array(20).keys()].map((n) => `${Math.floor(n / 5)}.${n % 5}`),
  );
});

// Every second goodbye comes to the process that does not have the connection.
async function leave(t, way) {
  const ids = [];
  for (let round = 0; round < 8; round++) {
    const { connection, id } = await connect(t, `${site}/peer`, { way });
    if (round % 2) await within(connection.send('Nothing'), 'the answer to a POST');
    await stop(connection);
    ids.push(id);
  }
  for (const id of ids) {
    const events = await historyOf(site, id);
    assert.ok(events.includes('disconnected client_closed'), `${id}: ${events}`);
  }
}

test('an event stream that is stopped is a goodbye', (t) => leave(t, 'serverSentEvents json'));

test('long polling that is stopped is a goodbye', (t) => leave(t, 'longPolling json'));
