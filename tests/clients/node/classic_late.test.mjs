// Microsoft's classic client, over the transport that WAY names, when it comes back after the server has given it up.
// Microsoft's server would take it back and call OnReconnected after OnDisconnected; ours tells it to stop, in words it understands.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { call, closePages, connect, start } from './classic_helpers.mjs';
import { logLine, setting } from './helpers.mjs';
import { Proxy } from './transports/way.mjs';

const site = setting('PEER_URL');

after(closePages);

test('a client that comes back too late is told so, and may start again', async (t) => {
  const proxy = await Proxy.to(t, site);
  const { connection, peer, errors, id, states } = await connect(t, `${proxy.url}/signalr`);
  connection.disconnectTimeout = connection.reconnectWindow = 60_000; // it is more patient than the server asked it to be
  await proxy.do('refuse');
  await proxy.do('cut');
  await logLine(site, (line) => line === `disconnected ${id} False`);
  await proxy.do('mend');
  for (const state of ['reconnecting', 'reconnected', 'disconnected']) assert.equal(await states.next(), state);
  assert.match(errors.at(-1), /\S/);
  assert.equal(connection.lastError.source, 'ServerError');
  await start(t, connection);
  assert.notEqual(connection.id, id);
  const events = await call(peer, 'GetEvents');
  assert.deepEqual(events.filter((line) => line.includes(id)), [`connected ${id}`, `disconnected ${id} False`]);
});
