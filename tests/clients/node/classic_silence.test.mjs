// Half-open networks under Microsoft's classic client, over the transport that WAY names: one whose keep-alives the client watches.
// The server speaks every two seconds here, and the client waits four.

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { call, closePages, connect } from './classic_helpers.mjs';
import { Queue, setting, unique } from './helpers.mjs';
import { Proxy } from './transports/way.mjs';

const site = setting('PEER_URL');

describe('nothing is heard', { concurrency: true }, () => {
  after(closePages);

  test('over a half-open network the client notices and comes back', async (t) => {
    const proxy = await Proxy.to(t, site);
    const other = await connect(t, `${site}/signalr`);
    const { peer, inbox, id, states } = await connect(t, `${proxy.url}/signalr`);
    const group = unique('group');
    await call(peer, 'Join', group);
    await call(peer, 'ToGroup', group, 'before');
    assert.equal(await inbox.next(), 'ToGroup: before');
    await proxy.do('freeze');
    await call(other.peer, 'ToGroup', group, 'missed');
    for (const state of ['connectionSlow', 'reconnecting', 'reconnected']) assert.equal(await states.next(), state);
    assert.equal(await inbox.next(), 'ToGroup: missed');
    await call(other.peer, 'ToClient', id, 'after');
    assert.equal(await inbox.next(), 'ToClient: after');
    await proxy.do('cut_frozen');
  });

  test('keep-alives alone keep a connection', async (t) => {
    const { connection, inbox, peer, states } = await connect(t, `${site}/signalr`);
    const beats = new Queue('a keep-alive');
    const logic = connection.transport.name === 'webSockets' ? connection.socket : connection.eventSource;
    logic.addEventListener('message', (event) => event.data === '{}' && beats.push());
    for (let count = 0; count < 3; count += 1) await beats.next();
    await call(peer, 'ToCaller', 'still here');
    assert.equal(await inbox.next(), 'ToCaller: still here');
    connection.stop();
    assert.equal(await states.next(), 'disconnected'); // before which there was nothing
  });
});
