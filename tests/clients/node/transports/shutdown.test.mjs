// A server process that ends while clients of every kind are connected, and one that takes its place.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { HubConnectionState, ServerProcess, failure, within } from '../helpers.mjs';
import { EVERY_WAY, call, collect, connect } from './way.mjs';

const server = new ServerProcess();
const hub = `${server.url}/transports`;
const PATIENT = Array(150).fill(100);
const STATEFUL = ['webSockets json', 'webSockets messagepack'];

before(() => server.start());
after(() => server.end('SIGTERM'));

async function expectReturn({ connection, id, states }, way) {
  assert.equal((await states.next()).state, 'reconnected', way);
  assert.notEqual(await call(connection, 'GetConnectionId'), id, way);
}

// Everyone is busy, and everyone comes back.
async function expectAllToReturn(t, signal, checkLoss) {
  const clients = [];
  for (const way of EVERY_WAY) clients.push([way, await connect(t, hub, { way, delays: PATIENT })]);
  for (const way of STATEFUL) clients.push([`stateful ${way}`, await connect(t, hub, { way, delays: PATIENT, stateful: true })]);
  const pending = clients.map(([, { connection }]) => failure(connection.invoke('Slow', 60_000)));
  const streams = clients.map(([, { connection }]) => collect(connection.stream('Count', 1_000_000, 20)));
  const ended = server.end(signal);
  for (const [way, { states }] of clients) {
    const { state, error } = await states.next();
    assert.equal(state, 'reconnecting', way);
    checkLoss(way, error);
  }
  await Promise.all(pending);
  for (const stream of streams) assert.notEqual(await stream.ended, 'complete');
  await ended;
  await server.start();
  for (const [way, client] of clients) await expectReturn(client, way);
}

test('after a shutdown all clients reconnect', async (t) => {
  await expectAllToReturn(t, 'SIGTERM', (way, error) => {
    // A client that could resume hears no goodbye, since it would try to resume and reconnect at once.
    if (!way.startsWith('stateful')) assert.equal(error, undefined, way);
  });
});

test('after a crash all clients reconnect', async (t) => {
  await expectAllToReturn(t, 'SIGKILL', () => {});
});

test('after a shutdown clients without automatic reconnect are closed, without an error', async (t) => {
  const clients = [];
  for (const way of EVERY_WAY) clients.push([way, await connect(t, hub, { way })]);
  const ended = server.end('SIGTERM');
  for (const [way, { connection, states }] of clients) {
    assert.deepEqual(await states.next(), { state: 'closed', error: undefined }, way);
    assert.equal(connection.state, HubConnectionState.Disconnected, way);
  }
  await ended;
  await server.start();
  for (const [, { connection }] of clients) {
    await within(connection.start(), 'the start');
    assert.equal(await call(connection, 'Echo', 'back'), 'back');
  }
});
