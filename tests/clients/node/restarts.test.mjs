// A server process that goes away, and comes back on the same port.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { HubConnectionState, ServerProcess, connect, failure } from './helpers.mjs';

const server = new ServerProcess();
const DELAYS = Array(100).fill(200);

before(() => server.start());
after(() => server.end('SIGTERM'));

async function expectReturn({ connection, id, inbox, states }) {
  const { state, id: next } = await states.next();
  assert.equal(state, 'reconnected');
  assert.notEqual(next, id);
  assert.equal(await connection.invoke('GetConnectionId'), next);
  await connection.invoke('Join', 'again');
  await connection.invoke('ToGroup', 'again', 'hello');
  assert.equal(await inbox.next(), 'ToGroup: hello');
}

test('after a kill the client reconnects on its own', async (t) => {
  const client = await connect(t, `${server.url}/peer`, { delays: DELAYS });
  const call = failure(client.connection.invoke('Slow', 60_000));
  await server.end('SIGKILL');
  assert.equal(await client.endings.next(), 1006);
  assert.equal((await client.states.next()).state, 'reconnecting');
  assert.match(await call, /^(WebSocket closed with status code: 1006 \(.*\)\.|Invocation canceled due to the underlying connection being closed\.)$/);
  await server.start();
  await expectReturn(client);
});

test('on a shutdown the server says goodbye and the client reconnects', async (t) => {
  const client = await connect(t, `${server.url}/peer`, { delays: DELAYS });
  const call = failure(client.connection.invoke('Slow', 60_000));
  const ended = server.end('SIGTERM');
  await client.frames.nextWhere((frame) => frame === '{"type":7,"allowReconnect":true}\x1e');
  assert.equal(await client.endings.next(), 1000);
  assert.deepEqual(await client.states.next(), { state: 'reconnecting', error: undefined });
  assert.equal(await call, 'Invocation canceled due to the underlying connection being closed.');
  await ended;
  await server.start();
  await expectReturn(client);
});

test('a client without automatic reconnect is closed', async (t) => {
  const client = await connect(t, `${server.url}/peer`);
  await server.end('SIGTERM');
  assert.deepEqual(await client.states.next(), { state: 'closed', error: undefined });
  assert.equal(client.connection.state, HubConnectionState.Disconnected);
  await server.start();
  await client.connection.start();
  assert.equal(await client.connection.invoke('Echo', 'back'), 'back');
});
