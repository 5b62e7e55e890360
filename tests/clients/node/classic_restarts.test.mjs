// A server process that goes away under Microsoft's classic client, and comes back on the same port with the same keys.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { TRANSPORTS, call, closePages, connect } from './classic_helpers.mjs';
import { ServerProcess, logLine, unique } from './helpers.mjs';

const server = new ServerProcess();

before(() => server.start());
after(closePages);
after(() => server.end('SIGTERM'));

// Ends the server under one client of every transport, and starts it again: they come back as who they were, with their groups.
async function restart(t, signal) {
  const group = unique('group');
  const clients = await Promise.all(TRANSPORTS.map((transport) => connect(t, `${server.url}/signalr`, { transport })));
  for (const { peer, inbox } of clients) {
    await call(peer, 'Join', group);
    await call(peer, 'ToCaller', 'joined');
    while ((await inbox.next()) !== 'ToCaller: joined');
  }
  await server.end(signal);
  for (const { states } of clients) assert.equal(await states.next(), 'reconnecting');
  await server.start();
  const [first, ...rest] = clients;
  assert.equal(await first.states.next(), 'reconnected');
  for (const { id } of clients) await logLine(server.url, (line) => line === `reconnected ${id}`);
  await call(first.peer, 'ToGroup', group, 'all back');
  // Those that poll may learn that they are back from this answer only.
  for (const { states } of rest) assert.equal(await states.next(), 'reconnected');
  for (const { id, inbox, peer } of clients) {
    assert.equal(await inbox.next(), 'ToGroup: all back');
    assert.equal(await call(peer, 'GetConnectionId'), id);
    await call(peer, 'ToClient', id, 'alone');
    assert.equal(await inbox.next(), 'ToClient: alone');
  }
  const events = await call(first.peer, 'GetEvents');
  assert.deepEqual(events.filter((line) => !line.startsWith('reconnected ')), []);
  for (const { connection, id } of clients) {
    connection.stop();
    await logLine(server.url, (line) => line.startsWith(`disconnected ${id} `));
  }
}

test('after a kill every client comes back with its groups', (t) => restart(t, 'SIGKILL'));

test('after a shutdown they do too', (t) => restart(t, 'SIGTERM'));
