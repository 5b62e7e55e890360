// Stateful reconnect: the client goes on after a lost web socket as if nothing had happened. DISCONNECT_TIMEOUT is three seconds here.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import signalR from '@microsoft/signalr';
import { Queue, failure, logLine, setting, unique } from '../helpers.mjs';
import { Proxy, call, collect, connect, range } from './way.mjs';

const site = setting('PEER_URL');
const PATIENT = Array(100).fill(100);

// A client behind a proxy, in a group of its own, and what the application hears of its connection.
async function connectThroughProxy(t, options = {}) {
  const proxy = await Proxy.to(t, site);
  const client = await connect(t, `${proxy.url}/transports`, { stateful: true, ...options });
  const changes = [];
  client.connection.onreconnecting(() => changes.push('reconnecting'));
  client.connection.onreconnected(() => changes.push('reconnected'));
  client.connection.onclose(() => changes.push('closed'));
  const group = unique('group');
  await call(client.connection, 'Join', group);
  return { ...client, proxy, changes, group };
}

async function expectSame({ connection, id, inbox, changes, group }) {
  assert.equal(await call(connection, 'GetConnectionId'), id);
  assert.equal(connection.connectionId, id);
  await call(connection, 'ToGroup', group, 'still in the group');
  assert.equal(await inbox.next(), 'ToGroup: still in the group');
  assert.deepEqual(changes, []);
}

async function expectReturn({ connection, id, states }) {
  assert.equal((await states.next()).state, 'reconnecting');
  const { state, id: next } = await states.next();
  assert.equal(state, 'reconnected');
  assert.notEqual(next, id);
  assert.equal(await call(connection, 'GetConnectionId'), next);
}

// Streams and messages in both directions, each item down sending something up; `onItem` brings about the trouble.
async function talk({ connection, inbox }, length, delay, onItem) {
  const numbers = new signalR.Subject();
  const sum = call(connection, 'Sum', numbers);
  const texts = new signalR.Subject();
  const relayed = collect(connection.stream('Relay', texts));
  const { items, ended } = collect(connection.stream('Count', length, delay), (count) => {
    connection.send('ToCaller', String(count));
    numbers.next(count);
    texts.next(`é${count}`);
    onItem(count);
  });
  assert.equal(await ended, 'complete');
  numbers.complete();
  texts.complete();
  const counts = range(length).map((i) => i + 1);
  assert.deepEqual(items, range(length));
  for (const i of counts) assert.equal(await inbox.next(), `ToCaller: ${i}`);
  assert.equal(await relayed.ended, 'complete');
  assert.deepEqual(relayed.items, counts.map((i) => `É${i}`));
  assert.equal(await sum, (length * (length + 1)) / 2);
}

describe('the web socket is lost', { concurrency: true }, () => {
  test('nothing is lost or doubled over six cuts in the middle of everything', async (t) => {
    const client = await connectThroughProxy(t);
    await talk(client, 300, 4, (count) => { if (count % 50 === 25) client.proxy.do('cut'); });
    await expectSame(client);
    // One for negotiate, the first web socket, and some more; two cuts may have fallen on one.
    assert.ok((await client.proxy.do('status')).accepted >= 4);
  });

  test('nor over a slow network', async (t) => {
    const client = await connectThroughProxy(t);
    await client.proxy.do('delay', { seconds: 0.1 });
    await talk(client, 100, 10, (count) => { if (count % 20 === 10) client.proxy.do('cut'); });
    await expectSame(client);
  });

  test('nor over 25 cuts in the middle of a frame', async (t) => {
    const client = await connectThroughProxy(t);
    const { connection, inbox, proxy } = client;
    const arrived = new Queue('an item');
    let sent = 0;
    const items = [];
    const subscription = connection.stream('Count', 1_000_000, 1).subscribe({
      next: (item) => {
        items.push(item);
        sent += 1;
        connection.send('ToCaller', String(sent));
        arrived.push(sent);
      },
      error: (error) => arrived.push(error),
      complete: () => arrived.push('complete'),
    });
    for (const round of range(25)) {
      const { accepted } = await proxy.do('status');
      // From an item on, since the client gives up at once if it cannot open its next web socket.
      const before = sent;
      await arrived.nextWhere((count) => count > before);
      await proxy.do('cut_after', { direction: round % 2 ? 'up' : 'down', size: 1 + ((round * 37) % 150) });
      await proxy.do('wait_accepted', { count: accepted + 1 });
    }
    subscription.dispose();
    assert.deepEqual(items, range(items.length));
    for (const i of range(sent)) assert.equal(await inbox.next(), `ToCaller: ${i + 1}`);
    await expectSame(client);
  });

  test('one that the server still has is replaced', async (t) => {
    const client = await connectThroughProxy(t);
    await talk(client, 150, 5, (count) => { if (count % 50 === 25) client.proxy.do('abandon'); });
    await expectSame(client);
  });

  test('a client that hears nothing for too long comes back as somebody new', async (t) => {
    // It opens another web socket first, and does not use it.
    const configure = (connection) => { connection.serverTimeoutInMilliseconds = 1000; };
    const client = await connectThroughProxy(t, { configure, delays: PATIENT });
    const { state, error } = await client.states.next();
    assert.equal(state, 'reconnecting');
    assert.equal(error, 'Server timeout elapsed without receiving a message from the server.');
    client.states.push({ state });
    await expectReturn(client);
  });

  test('an answer that was on its way comes over the next one', async (t) => {
    const client = await connectThroughProxy(t);
    const asking = await connect(t, `${site}/transports`);
    client.connection.on('Ask', async (n) => {
      await client.proxy.do('cut');
      return n + 1;
    });
    assert.equal(await call(asking.connection, 'AskClient', client.id, 1), 2);
    const slow = call(client.connection, 'Slow', 500);
    await client.proxy.do('cut');
    assert.equal(await slow, 'done');
    await expectSame(client);
  });

  test('what others send meanwhile is there afterwards', async (t) => {
    const client = await connectThroughProxy(t);
    const other = await connect(t, `${site}/transports`);
    await client.proxy.do('hold');
    await client.proxy.do('cut');
    for (const i of range(50)) await call(other.connection, 'ToGroup', client.group, String(i));
    await client.proxy.do('mend');
    for (const i of range(50)) assert.equal(await client.inbox.next(), `ToGroup: ${i}`);
    await expectSame(client);
  });

  test('beyond the window the client comes back as somebody new', async (t) => {
    const client = await connectThroughProxy(t, { delays: PATIENT });
    const pending = failure(client.connection.invoke('Slow', 60_000));
    await client.proxy.do('hold');
    await client.proxy.do('cut');
    assert.equal(await logLine(site, (line) => line.startsWith(`ended ${client.id} `)), `ended ${client.id} client_gone False True -`);
    await client.proxy.do('mend');
    await expectReturn(client);
    await pending;
  });

  test('a client that cannot open its next web socket comes back as somebody new', async (t) => {
    const client = await connectThroughProxy(t, { delays: PATIENT });
    await client.proxy.do('refuse');
    await client.proxy.do('cut');
    const { state } = await client.states.next();
    assert.equal(state, 'reconnecting');
    client.states.push({ state });
    await client.proxy.do('mend');
    await expectReturn(client);
  });

  test('a client that is stopped meanwhile is closed', async (t) => {
    const { connection, id, states } = await connectThroughProxy(t);
    await connection.stop();
    assert.deepEqual(await states.next(), { state: 'closed', error: undefined });
    assert.equal(await logLine(site, (line) => line.startsWith(`ended ${id} `)), `ended ${id} client_closed True False -`);
  });

  test('what the server ends cannot be resumed', async (t) => {
    const client = await connectThroughProxy(t, { delays: PATIENT });
    const { accepted } = await client.proxy.do('status');
    const aborted = failure(client.connection.invoke('AbortMe'));
    assert.deepEqual(await client.states.next(), { state: 'closed', error: undefined });
    await aborted;
    // The client tries it all the same, once.
    await client.proxy.do('wait_accepted', { count: accepted + 1 });
    assert.equal(await logLine(site, (line) => line.startsWith(`ended ${client.id} `)), `ended ${client.id} closed_by_app False False -`);
    assert.deepEqual(client.changes, ['closed']);
  });

  test('a hub that does not allow it lets the client reconnect as ever', async (t) => {
    const proxy = await Proxy.to(t, site);
    const client = await connect(t, `${proxy.url}/everything`, { stateful: true, delays: PATIENT });
    await proxy.do('cut');
    await expectReturn(client);
  });
});
