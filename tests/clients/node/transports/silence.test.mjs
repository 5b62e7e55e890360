// Silence, on the transports that ping: networks that are half-open, and clients that stop. The hub pings every second and waits two for a client.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { failure, logLine, setting } from '../helpers.mjs';
import { Proxy, call, connect } from './way.mjs';

const site = setting('PEER_URL');
const OFTEN = (connection) => {
  connection.serverTimeoutInMilliseconds = 2500;
  connection.keepAliveIntervalInMilliseconds = 500;
};
const NEVER = (connection) => { connection.keepAliveIntervalInMilliseconds = 60_000; };

describe('nothing is heard', { concurrency: true }, () => {
  test('over a half-open network both sides notice, and the client reconnects', async (t) => {
    const proxy = await Proxy.to(t, site);
    const { connection, id, states } = await connect(t, `${proxy.url}/transports-quick`, { delays: Array(100).fill(100), configure: OFTEN });
    const pending = failure(connection.invoke('Slow', 60_000));
    await proxy.do('freeze');
    const text = 'Server timeout elapsed without receiving a message from the server.';
    assert.deepEqual(await states.next(), { state: 'reconnecting', error: text });
    assert.equal(await pending, text);
    const ended = await logLine(site, (line) => line.startsWith(`ended ${id} `));
    assert.match(ended, new RegExp(`^ended ${id} ping_timeout False True \\w+$`));
    // Node would send the next request over a socket that is as dead as the others, if it did not learn of it at last.
    await proxy.do('cut_frozen');
    assert.equal((await states.next()).state, 'reconnected');
    assert.notEqual(await call(connection, 'GetConnectionId'), id);
  });

  test('without automatic reconnect the client is closed with an error', async (t) => {
    const proxy = await Proxy.to(t, site);
    const { states } = await connect(t, `${proxy.url}/transports-quick`, { configure: OFTEN });
    await proxy.do('freeze');
    assert.deepEqual(await states.next(), { state: 'closed', error: 'Server timeout elapsed without receiving a message from the server.' });
  });

  test('a client that stops pinging is told so and comes back', async (t) => {
    const { connection, id, states } = await connect(t, `${site}/transports-quick`, { delays: [0, 500], configure: NEVER });
    const text = 'OperationCanceledException: Client hasn\'t sent a message/ping within the configured ClientTimeoutInterval.';
    const error = `Server returned an error on close: Connection closed with an error. ${text}`;
    assert.deepEqual(await states.next(), { state: 'reconnecting', error });
    assert.equal((await states.next()).state, 'reconnected');
    assert.notEqual(await call(connection, 'GetConnectionId'), id);
  });

  test('such a client is closed if it may not come back', async (t) => {
    const { states } = await connect(t, `${site}/transports-quick`, { configure: NEVER });
    const { state, error } = await states.next();
    assert.equal(state, 'closed');
    assert.match(error, /ClientTimeoutInterval\.$/);
  });
});
