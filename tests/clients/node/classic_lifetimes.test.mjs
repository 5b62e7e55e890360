// Networks that fail under Microsoft's classic client, over the transport that WAY names. The server's disconnect timeout is six seconds.

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { TRANSPORT, call, closePages, connect, start } from './classic_helpers.mjs';
import { failure, logLine, setting, unique } from './helpers.mjs';
import { Proxy } from './transports/way.mjs';

const site = setting('PEER_URL');
const LOST_CALL = {
  webSockets: 'Connection started reconnecting before invocation result was received.',
  serverSentEvents: 'Error: Send failed.',
  longPolling: 'Error: Send failed.',
};

describe('the network fails', { concurrency: true }, () => {
  after(closePages);

  test('a client comes back as who it was, with its groups, and hears what it missed', async (t) => {
    const proxy = await Proxy.to(t, site);
    const other = await connect(t, `${site}/signalr`);
    const { connection, peer, id, inbox, states } = await connect(t, `${proxy.url}/signalr`);
    const group = unique('group');
    await call(peer, 'Join', group);
    await call(other.peer, 'ToGroup', group, 'before');
    assert.equal(await inbox.next(), 'ToGroup: before'); // and so it has its groups token
    await proxy.do('refuse');
    await proxy.do('cut');
    assert.equal(await states.next(), 'reconnecting');
    for (const i of [1, 2, 3]) await call(other.peer, 'ToGroup', group, String(i));
    await call(other.peer, 'ToClient', id, 'alone');
    await proxy.do('mend');
    assert.equal(await states.next(), 'reconnected');
    // Messages of one audience keep their order.
    const missed = [];
    while (missed.length < 4) missed.push(await inbox.next());
    assert.deepEqual(missed.filter((message) => message.startsWith('ToGroup')), ['ToGroup: 1', 'ToGroup: 2', 'ToGroup: 3']);
    assert.ok(missed.includes('ToClient: alone'));
    assert.equal(await call(peer, 'GetConnectionId'), id);
    assert.equal(connection.id, id);
    await logLine(site, (line) => line === `reconnected ${id}`);
    await call(peer, 'ToGroup', group, 'after');
    assert.equal(await inbox.next(), 'ToGroup: after');
  });

  test('it may be cut again and again, and hears everything once', async (t) => {
    const proxy = await Proxy.to(t, site);
    const other = await connect(t, `${site}/signalr`);
    const { peer, id, inbox } = await connect(t, `${proxy.url}/signalr`);
    for (let round = 0; round < 5; round += 1) {
      await call(other.peer, 'ToClient', id, `${round} before`);
      await proxy.do('cut');
      await call(other.peer, 'ToClient', id, `${round} after`);
      for (const text of ['before', 'after']) assert.equal(await inbox.next(), `ToClient: ${round} ${text}`);
    }
    assert.equal(await call(peer, 'GetConnectionId'), id);
  });

  test('a call that is under way fails, and the next one is answered', async (t) => {
    const proxy = await Proxy.to(t, site);
    const { peer, states } = await connect(t, `${proxy.url}/signalr`);
    const pending = failure(peer.invoke('Slow', 3000));
    await call(peer, 'Nothing');
    await proxy.do('cut');
    assert.equal(await pending, LOST_CALL[TRANSPORT]);
    for (const state of ['reconnecting', 'reconnected']) assert.equal(await states.next(), state);
    assert.equal(await call(peer, 'Add', 1, 2), 3);
  });

  test('a cut in the middle of a long message costs nothing but time', async (t) => {
    const proxy = await Proxy.to(t, site);
    const other = await connect(t, `${site}/signalr`, { transport: 'serverSentEvents' });
    const { id, inbox, states } = await connect(t, `${proxy.url}/signalr`);
    await proxy.do('cut_after', { direction: 'down', size: 50_000 });
    await call(other.peer, 'ToClient', id, 'x'.repeat(200_000));
    for (const state of ['reconnecting', 'reconnected']) assert.equal(await states.next(), state);
    assert.equal((await inbox.next()).length, 'ToClient: '.length + 200_000);
  });

  test('when it cannot come back both sides give up', async (t) => {
    const proxy = await Proxy.to(t, site);
    const { errors, id, states } = await connect(t, `${proxy.url}/signalr`);
    await proxy.do('refuse');
    await proxy.do('cut');
    for (const state of ['reconnecting', 'disconnected']) assert.equal(await states.next(), state);
    assert.equal(errors.at(-1), "Couldn't reconnect within the configured timeout of 6000 ms, disconnecting.");
    await logLine(site, (line) => line === `disconnected ${id} False`);
  });

  test('it may start again after that', async (t) => {
    const proxy = await Proxy.to(t, site);
    const { connection, peer, id, states } = await connect(t, `${proxy.url}/signalr`);
    await proxy.do('refuse');
    await proxy.do('cut');
    for (const state of ['reconnecting', 'disconnected']) assert.equal(await states.next(), state);
    await proxy.do('mend');
    await start(t, connection);
    assert.notEqual(connection.id, id);
    assert.equal(await call(peer, 'Echo', 'again'), 'again');
  });
});
