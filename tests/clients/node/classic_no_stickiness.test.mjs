// Microsoft's classic client, over the transport that WAY names, and two server processes behind a balancer that sends every request to the
// next one: /negotiate, /connect, /start, /send, /poll, /reconnect and /abort of one connection go hither and thither.

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { call, closePages, connect, progress, refusal } from './classic_helpers.mjs';
import { logLine, request, setting, unique } from './helpers.mjs';

const site = setting('PEER_URL');
const processes = setting('PEER_URLS').split(' ');
const range = (length) => Array.from({ length }, (_, i) => i);

// What the hubs of both processes have seen of a connection.
async function eventsOf(id) {
  const logs = await Promise.all(processes.map(async (url) => (await request(`${url}/events`)).json()));
  return logs.flat().filter((line) => line.includes(id));
}

describe('without sticky sessions', { concurrency: true }, () => {
  after(closePages);

  test('calls are answered', async (t) => {
    const { connection, peer, id } = await connect(t, `${site}/signalr`);
    for (const i of range(10)) assert.equal(await call(peer, 'Echo', String(i)), String(i));
    const together = await Promise.all(range(20).map((i) => call(peer, 'Add', i, 1)));
    assert.deepEqual(together, range(20).map((i) => i + 1));
    assert.equal((await call(peer, 'Big', 300_000)).length, 300_000);
    assert.equal((await call(peer, 'Echo', 'é'.repeat(20_000))).length, 20_000);
    for (const n of [1, 2, 3]) assert.equal(await call(peer, 'CountState'), n);
    const error = await refusal(peer, 'FailHubData', 'no');
    assert.deepEqual(error, { text: 'no', source: 'HubException', data: { text: 'no' } });
    const { arrived, result } = await progress(connection, peer, 'Progress', 5);
    assert.equal(result, 5);
    for (const i of range(5)) assert.equal(await arrived.next(), i);
    assert.equal(await call(peer, 'GetConnectionId'), id);
  });

  test('messages keep their order on the way to clients, users and groups', async (t) => {
    const ann = unique('ann');
    const clients = [];
    for (const _ of range(3)) clients.push(await connect(t, `${site}/signalr`, { user: ann }));
    const [one, ...rest] = clients;
    const group = unique('group');
    for (const { peer } of clients) await call(peer, 'Join', group);
    for (const i of range(10)) await call(one.peer, 'ToGroup', group, String(i));
    for (const { inbox } of clients) for (const i of range(10)) assert.equal(await inbox.next(), `ToGroup: ${i}`);
    for (const { id, inbox } of rest) {
      await call(one.peer, 'ToClient', id, 'alone');
      assert.equal(await inbox.next(), 'ToClient: alone');
    }
    await call(rest[0].peer, 'ToUser', ann, 'all of her');
    for (const { inbox } of clients) assert.equal(await inbox.next(), 'ToUser: all of her');
    await call(rest[1].peer, 'Leave', group);
    await call(rest[1].peer, 'ToGroupExcept', group, one.id, 'the one that is left');
    await call(rest[1].peer, 'ToUser', ann, 'the end');
    assert.equal(await rest[0].inbox.next(), 'ToGroupExcept: the one that is left');
    for (const { inbox } of clients) assert.equal(await inbox.next(), 'ToUser: the end');
  });

  test('a client comes back through either process, and the hub knows it as one', async (t) => {
    const other = await connect(t, `${site}/signalr`);
    const { connection, peer, id, inbox, states } = await connect(t, `${site}/signalr`);
    const group = unique('group');
    await call(peer, 'Join', group);
    for (const round of range(4)) {
      await call(other.peer, 'ToGroup', group, `${round} before`);
      assert.equal(await inbox.next(), `ToGroup: ${round} before`);
      connection.transport.lostConnection(connection);
      await call(other.peer, 'ToGroup', group, `${round} after`);
      for (const state of ['reconnecting', 'reconnected']) assert.equal(await states.next(), state);
      assert.equal(await inbox.next(), `ToGroup: ${round} after`);
      assert.equal(await call(peer, 'GetConnectionId'), id);
    }
    connection.stop();
    assert.equal(await states.next(), 'disconnected');
    await logLine(site, (line) => line === `disconnected ${id} True`);
    const events = await eventsOf(id);
    assert.deepEqual(events.filter((line) => line.startsWith('connected')), [`connected ${id}`]);
    assert.deepEqual(events.filter((line) => line.startsWith('disconnected')), [`disconnected ${id} True`]);
    assert.equal(events.filter((line) => line === `reconnected ${id}`).length, 4);
  });
});
