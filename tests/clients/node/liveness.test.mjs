// Who is silent for too long. The strict hub pings every second and gives clients that ping two seconds.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { HubConnectionState, connect, logLine, setting } from './helpers.mjs';

const site = setting('PEER_URL');
const PING = '{"type":6}\x1e';
const silent = (connection) => { connection.keepAliveIntervalInMilliseconds = 60_000; };

describe('pings', { concurrency: true }, () => {
  test('the server\'s keep an idle client', async (t) => {
    const { connection, frames } = await connect(t, `${site}/peer-strict`, {
      configure: (c) => {
        c.serverTimeoutInMilliseconds = 4000;
        c.keepAliveIntervalInMilliseconds = 500;
      },
    });
    for (let i = 0; i < 5; i += 1) await frames.nextWhere((frame) => frame === PING);
    assert.equal(connection.state, HubConnectionState.Connected);
    assert.equal(await connection.invoke('Echo', 'still here'), 'still here');
  });

  test('come while a hub method runs', async (t) => {
    const { connection, frames } = await connect(t, `${site}/peer-strict`, { configure: (c) => { c.keepAliveIntervalInMilliseconds = 500; } });
    let isDone = false;
    const call = connection.invoke('Slow', 3500).then(() => { isDone = true; });
    await frames.nextWhere((frame) => frame === PING);
    await frames.nextWhere((frame) => frame === PING);
    assert.ok(!isDone);
    await call;
  });

  test('a client that stops pinging is closed with an error', async (t) => {
    const { id, frames, endings, states } = await connect(t, `${site}/peer-strict`, { configure: silent });
    await frames.nextWhere((frame) => frame === '{"type":7,"error":"Connection closed with an error.","allowReconnect":true}\x1e');
    assert.equal(await endings.next(), 1000);
    assert.deepEqual(await states.next(), { state: 'closed', error: 'Server returned an error on close: Connection closed with an error.' });
    const text = 'Client hasn\'t sent a message/ping within the configured ClientTimeoutInterval.';
    assert.equal(await logLine(site, (line) => line.startsWith(`disconnected ${id} `)), `disconnected ${id} ${text}`);
  });

  test('such a client comes back by itself if it may', async (t) => {
    const { connection, id, inbox, states } = await connect(t, `${site}/peer-strict`, { configure: silent, delays: [0, 500] });
    assert.deepEqual(await states.next(), { state: 'reconnecting', error: 'Server returned an error on close: Connection closed with an error.' });
    const { state, id: next } = await states.next();
    assert.equal(state, 'reconnected');
    assert.notEqual(next, id);
    await connection.invoke('ToClient', next, 'hello again');
    assert.equal(await inbox.next(), 'ToClient: hello again');
  });

  test('calls count as signs of life', async (t) => {
    const { connection, frames } = await connect(t, `${site}/peer-strict`, { configure: silent });
    for (let i = 0; i < 4; i += 1) {
      await frames.nextWhere((frame) => frame === PING);
      await connection.invoke('Echo', 'here');
    }
    assert.equal(connection.state, HubConnectionState.Connected);
  });
});
