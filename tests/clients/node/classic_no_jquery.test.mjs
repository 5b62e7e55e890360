// signalr-no-jquery over the transport that WAY names: Microsoft's client on a stand-in for jQuery, which takes only JSON for an answer.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, describe, test } from 'node:test';
import { TRANSPORT, call, closePages, inboxOf, openPage, refusal, start, watch } from './classic_helpers.mjs';
import { logLine, setting, unique } from './helpers.mjs';
import { Proxy } from './transports/way.mjs';

const site = setting('PEER_URL');
globalThis.window = openPage(site, []);
const { hubConnection, signalR } = createRequire(import.meta.url)('signalr-no-jquery');
signalR.transports.longPolling.reconnectDelay = 100; // instead of three seconds

async function connect(t, url, qs = null) {
  const connection = hubConnection(url, { useDefaultPath: false, qs });
  const watched = watch(connection);
  const peer = connection.createHubProxy('peer');
  const inbox = inboxOf(peer);
  await start(t, connection);
  return { connection, peer, inbox, id: connection.id, ...watched };
}

describe('signalr-no-jquery', { concurrency: true }, () => {
  after(closePages);

  test('calls are answered', async (t) => {
    const { connection, peer, id, errors } = await connect(t, `${site}/signalr`);
    assert.equal(connection.transport.name, TRANSPORT);
    assert.equal(await call(peer, 'Add', 2, 3), 5);
    assert.equal(await call(peer, 'Nothing'), undefined);
    assert.equal(await call(peer, 'Echo', '漢字 😀 "\u2028 +&='), '漢字 😀 "\u2028 +&=');
    assert.equal(await call(peer, 'GetConnectionId'), id);
    assert.deepEqual(await call(peer, 'EchoRecord', null), undefined);
    assert.deepEqual([await call(peer, 'CountState'), await call(peer, 'CountState'), peer.state.counter], [1, 2, 2]);
    assert.deepEqual(await refusal(peer, 'FailHubData', 'no'), { text: 'no', source: 'HubException', data: { text: 'no' } });
    assert.equal((await refusal(peer, 'Fail', 'secret')).text, "There was an error invoking Hub method 'peer.Fail'.");
    assert.deepEqual(errors, []);
  });

  test('messages reach users, groups and single clients', async (t) => {
    const ann = unique('ann');
    const one = await connect(t, `${site}/signalr`);
    const two = await connect(t, `${site}/signalr`, { user: ann });
    const group = unique('group');
    for (const { peer } of [one, two]) await call(peer, 'Join', group);
    for (const [method, ...args] of [['ToUser', ann], ['ToClient', two.id], ['ToOthersInGroup', group], ['ToGroupExcept', group, one.id]]) {
      await call(one.peer, method, ...args, 'to two');
      assert.equal(await two.inbox.next(), `${method}: to two`);
    }
    await call(two.peer, 'Leave', group);
    await call(one.peer, 'ToGroup', group, 'to one');
    await call(one.peer, 'ToCaller', 'to one');
    assert.deepEqual([await one.inbox.next(), await one.inbox.next()].sort(), ['ToCaller: to one', 'ToGroup: to one']);
  });

  test('it comes back after a cut with its groups and what it missed', async (t) => {
    const proxy = await Proxy.to(t, site);
    const other = await connect(t, `${site}/signalr`);
    const { peer, id, inbox, states } = await connect(t, `${proxy.url}/signalr`);
    const group = unique('group');
    await call(peer, 'Join', group);
    await call(other.peer, 'ToGroup', group, 'before');
    assert.equal(await inbox.next(), 'ToGroup: before');
    await proxy.do('refuse');
    await proxy.do('cut');
    assert.equal(await states.next(), 'reconnecting');
    await call(other.peer, 'ToGroup', group, 'missed');
    await proxy.do('mend');
    assert.equal(await states.next(), 'reconnected');
    assert.equal(await inbox.next(), 'ToGroup: missed');
    assert.equal(await call(peer, 'GetConnectionId'), id);
  });

  test('stopping tells the server', async (t) => {
    const { connection, id, states } = await connect(t, `${site}/signalr`);
    connection.stop();
    await states.nextWhere((state) => state === 'disconnected'); // the poll it gives up looks to it like a lost one
    await logLine(site, (line) => line === `disconnected ${id} True`);
  });
});
