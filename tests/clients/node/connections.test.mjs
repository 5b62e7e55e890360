// Starting and ending connections.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HubConnectionState, build, connect, failure, logLine, setting, within } from './helpers.mjs';

const site = setting('PEER_URL');
const CONNECTION_ID = /^[A-Za-z0-9_-]{22}$/;

test('the client knows its connection by the server\'s id', async (t) => {
  const { connection, id } = await connect(t, `${site}/peer`);
  assert.equal(connection.connectionId, id);
  assert.match(id, CONNECTION_ID);
});

test('without negotiation only the server knows the id', async (t) => {
  const { connection, id } = await connect(t, `${site}/peer`, { direct: true });
  assert.equal(connection.connectionId, null);
  assert.match(id, CONNECTION_ID);
});

test('a stopped connection starts again under another id', async (t) => {
  const { connection, id, states } = await connect(t, `${site}/peer`);
  await connection.stop();
  assert.equal(connection.state, HubConnectionState.Disconnected);
  assert.deepEqual(await states.next(), { state: 'closed', error: undefined });
  assert.equal(await logLine(site, (line) => line.startsWith(`disconnected ${id} `)), `disconnected ${id} -`);
  await connection.start();
  const next = await connection.invoke('GetConnectionId');
  assert.notEqual(next, id);
  await logLine(site, (line) => line === `connected ${next}`);
});

test('the hub hears that the client stopped on purpose', async (t) => {
  const { connection, id } = await connect(t, `${site}/everything`);
  await connection.stop();
  assert.equal(await logLine(site, (line) => line.startsWith(`ended ${id} `)), `ended ${id} client_closed True False -`);
});

test('paths are found in any letter case and with a query of the application', async (t) => {
  const { connection } = await connect(t, `${site}/Peer?room=7`);
  assert.equal(await connection.invoke('Echo', 'here'), 'here');
});

test('a path without a hub is not found', async () => {
  const message = await failure(build(`${site}/nowhere`).connection.start());
  assert.match(message, /^Failed to complete negotiation with the server: Error: .*: Status code '404' Either this is not a SignalR endpoint/);
});

test('a hub whose on_connected fails turns the client away for good', async () => {
  const { connection, frames, endings, states } = build(`${site}/closed`, { delays: [0] });
  const started = connection.start().catch((error) => states.push({ state: 'closed', error: error.message }));
  const text = 'Connection closed with an error. HubException: We are closed.';
  assert.equal(await frames.next(), '{}\x1e');
  assert.equal(await frames.next(), `{"type":7,"error":"${text}"}\x1e`);
  assert.deepEqual(await states.next(), { state: 'closed', error: `Server returned an error on close: ${text}` });
  assert.equal(await endings.next(), 1000);
  await within(started, 'the end of the start');
  assert.equal(connection.state, HubConnectionState.Disconnected);
});

test('a connection its own call aborts stays closed, without an error', async (t) => {
  const { connection, id, frames, endings, states } = await connect(t, `${site}/everything`, { delays: [0] });
  const call = failure(connection.invoke('AbortMe'));
  await frames.nextWhere((frame) => frame === '{"type":7}\x1e');
  assert.equal(await endings.next(), 1000);
  assert.deepEqual(await states.next(), { state: 'closed', error: undefined });
  assert.equal(await call, 'Invocation canceled due to the underlying connection being closed.');
  assert.equal(connection.state, HubConnectionState.Disconnected);
  assert.equal(await logLine(site, (line) => line.startsWith(`ended ${id} `)), `ended ${id} closed_by_app False False -`);
});
