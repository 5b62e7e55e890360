// Clients of every transport and hub protocol on one hub.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import signalR from '@microsoft/signalr';
import messagePack from '@microsoft/signalr-protocol-msgpack';
import { failure, logIn, request, setting, unique, within } from '../helpers.mjs';
import { EVERY_WAY, build, call, connect } from './way.mjs';

const site = setting('PEER_URL');
const hub = `${site}/everything`;

describe('one of each', () => {
  const cast = new Map();
  const group = unique('group');
  const cleanUp = [];
  let ann;

  before(async () => {
    const t = { after: (action) => cleanUp.push(action) };
    ann = await logIn(site, unique('ann'));
    for (const way of EVERY_WAY) cast.set(way, await connect(t, hub, { way, headers: ann.headers }));
    for (const { connection } of cast.values()) {
      connection.on('Ask', (n) => n + 1);
      await call(connection, 'Join', group);
    }
  });

  after(async () => {
    for (const action of cleanUp) await action();
  });

  // What each heard until a last message to everyone.
  async function check(expected) {
    const end = unique('end');
    await call(cast.get(EVERY_WAY[0]).connection, 'ToAll', end);
    for (const [way, { inbox }] of cast) assert.deepEqual(await inbox.before(end), expected(way), way);
  }

  test('each sends to the group, and all hear all in one order of each sender', async () => {
    for (const [way, { connection }] of cast) await call(connection, 'ToGroup', group, `${way} é😀`);
    await check(() => EVERY_WAY.map((way) => `ToGroup: ${way} é😀`));
  });

  test('each sends to the others', async () => {
    for (const [way, { connection }] of cast) await call(connection, 'ToOthersInGroup', group, way);
    await check((self) => EVERY_WAY.filter((way) => way !== self).map((way) => `ToOthersInGroup: ${way}`));
  });

  test('each sends to the next by its id', async () => {
    const next = (i) => EVERY_WAY[(i + 1) % EVERY_WAY.length];
    for (const [i, way] of EVERY_WAY.entries()) await call(cast.get(way).connection, 'ToClient', cast.get(next(i)).id, way);
    await check((self) => [`ToClient: ${EVERY_WAY.find((_, i) => next(i) === self)}`]);
  });

  test('each asks every other', async () => {
    for (const { connection } of cast.values()) {
      const answers = await Promise.all([...cast.values()].map(({ id }, i) => call(connection, 'AskClient', id, i)));
      assert.deepEqual(answers, EVERY_WAY.map((_, i) => i + 1));
    }
  });

  test('a view reaches all of a user', async () => {
    await request(`${site}/send?user=${ann.pk}&text=from+a+view`);
    await request(`${site}/asend?group=${group}&text=from+an+async+view`);
    await check(() => ['FromView: from a view', 'FromAsyncView: from an async view']);
  });

  test('500 messages to everyone arrive everywhere in order', async () => {
    const { connection } = cast.get(EVERY_WAY[1]);
    const texts = Array.from({ length: 500 }, (_, i) => `message ${i}`);
    for (const text of texts) connection.send('ToAll', text);
    await call(connection, 'Echo', 'all sent');
    await check(() => texts.map((text) => `ToAll: ${text}`));
  });
});

async function chosen(t, path, { binary = false } = {}) {
  const builder = new signalR.HubConnectionBuilder().withUrl(`${site}/${path}`).configureLogging(signalR.LogLevel.None);
  if (binary) builder.withHubProtocol(new messagePack.MessagePackHubProtocol());
  const connection = builder.build();
  t.after(() => connection.stop());
  await within(connection.start(), 'the start');
  assert.equal(await call(connection, 'Add', 1, 2), 3);
  return connection.connection.transport.constructor.name;
}

test('left to choose, the client takes the first transport it can use', async (t) => {
  assert.equal(await chosen(t, 'peer'), 'WebSocketTransport');
  assert.equal(await chosen(t, 'peer', { binary: true }), 'WebSocketTransport');
  assert.equal(await chosen(t, 'peer-sse'), 'ServerSentEventsTransport');
  assert.equal(await chosen(t, 'peer-lp'), 'LongPollingTransport');
  assert.equal(await chosen(t, 'peer-lp', { binary: true }), 'LongPollingTransport');
});

test('asking for stateful reconnect does no harm where it cannot be had', async (t) => {
  for (const way of EVERY_WAY) {
    const { connection, inbox } = await connect(t, `${site}/transports`, { way, stateful: true });
    await call(connection, 'ToCaller', way);
    assert.equal(await inbox.next(), `ToCaller: ${way}`);
  }
});

test('a transport the hub does not offer fails the start', async () => {
  const start = (way, path) => failure(build(`${site}/${path}`, { way }).connection.start());
  assert.match(await start('longPolling json', 'peer-ws'), /^Unable to connect to the server with any of the available transports\./);
  assert.match(await start('webSockets json', 'peer-sse'), /^Unable to connect to the server with any of the available transports\./);
  assert.match(await start('serverSentEvents messagepack', 'peer'), /'ServerSentEvents' does not support Binary/);
  assert.match(await start('direct json', 'peer-lp'), /^WebSocket failed to connect\./);
});
