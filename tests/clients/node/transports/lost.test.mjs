// Networks that fail, on every transport: a proxy stands between the client and the server, whose DISCONNECT_TIMEOUT is three seconds here.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { HubConnectionState, Queue, failure, logLine, setting, unique, within } from '../helpers.mjs';
import { Proxy, TRANSPORT, call, collect, connect, range } from './way.mjs';

const site = setting('PEER_URL');
const PATIENT = Array(100).fill(100);

async function expectReturn({ connection, id, inbox, states }) {
  const { state, id: next } = await states.next();
  assert.equal(state, 'reconnected');
  const known = await call(connection, 'GetConnectionId');
  assert.notEqual(known, id);
  assert.equal(next, TRANSPORT === 'direct' ? undefined : known);
  await call(connection, 'ToClient', known, 'hello again');
  assert.equal(await inbox.next(), 'ToClient: hello again');
}

describe('the network fails', { concurrency: true }, () => {
  test('after an abrupt cut the client reconnects as somebody new', async (t) => {
    const proxy = await Proxy.to(t, site);
    const client = await connect(t, `${proxy.url}/transports`, { delays: PATIENT });
    const group = unique('group');
    await call(client.connection, 'Join', group);
    const pending = failure(client.connection.invoke('Slow', 60_000));
    await proxy.do('cut');
    assert.equal((await client.states.next()).state, 'reconnecting');
    await pending;
    await expectReturn(client);
    // Groups go with the connection.
    await call(client.connection, 'ToGroup', group, 'nobody');
    await call(client.connection, 'ToCaller', 'end');
    assert.deepEqual(await client.inbox.before('end'), []);
    const ended = await logLine(site, (line) => line.startsWith(`ended ${client.id} `));
    assert.equal(ended, `ended ${client.id} ${TRANSPORT === 'longPolling' ? 'poll_timeout' : 'client_gone'} False True -`);
  });

  test('a client comes back as soon as the server can be reached', async (t) => {
    const proxy = await Proxy.to(t, site);
    const attempts = new Queue('an attempt');
    const delays = {
      nextRetryDelayInMilliseconds({ previousRetryCount }) {
        attempts.push(previousRetryCount);
        return 50;
      },
    };
    const client = await connect(t, `${proxy.url}/transports`, { delays });
    await proxy.do('refuse');
    await proxy.do('cut');
    assert.equal((await client.states.next()).state, 'reconnecting');
    await attempts.nextWhere((count) => count === 3);
    assert.equal(client.connection.state, HubConnectionState.Reconnecting);
    await proxy.do('mend');
    await expectReturn(client);
  });

  test('a client that gives up is closed, and starts again when it is told to', async (t) => {
    const proxy = await Proxy.to(t, site);
    const { connection, states } = await connect(t, `${proxy.url}/transports`, { delays: [0, 50] });
    await proxy.do('refuse');
    await proxy.do('cut');
    assert.equal((await states.next()).state, 'reconnecting');
    assert.deepEqual(await states.next(), { state: 'closed', error: undefined });
    await proxy.do('mend');
    await within(connection.start(), 'the start');
    assert.equal(await call(connection, 'Add', 1, 2), 3);
  });

  test('a client without automatic reconnect is closed', async (t) => {
    const proxy = await Proxy.to(t, site);
    const { connection, states } = await connect(t, `${proxy.url}/transports`);
    const stream = collect(connection.stream('Count', 1_000_000, 10));
    await proxy.do('cut');
    assert.equal((await states.next()).state, 'closed');
    assert.notEqual(await stream.ended, 'complete');
    assert.equal(connection.state, HubConnectionState.Disconnected);
  });

  test('a cut in the middle of a long result loses the call, and the next one has it whole', async (t) => {
    const proxy = await Proxy.to(t, site);
    const client = await connect(t, `${proxy.url}/transports`, { delays: PATIENT });
    await proxy.do('cut_after', { direction: 'down', size: 200_000 });
    await failure(client.connection.invoke('Big', 2 ** 20));
    assert.equal((await client.states.next()).state, 'reconnecting');
    await expectReturn(client);
    assert.equal((await call(client.connection, 'Big', 2 ** 20)).length, 2 ** 20);
  });

  test('a cut in the middle of what the client says ends its connection', async (t) => {
    const proxy = await Proxy.to(t, site);
    const client = await connect(t, `${proxy.url}/transports`, { delays: PATIENT });
    await proxy.do('cut_after', { direction: 'up', size: 10_000 });
    await failure(client.connection.invoke('Echo', 'x'.repeat(30_000)));
    assert.equal((await client.states.next()).state, 'reconnecting');
    await expectReturn(client);
  });

  test('a slow network changes nothing but the time', async (t) => {
    const proxy = await Proxy.to(t, site);
    const { connection, inbox, states } = await connect(t, `${proxy.url}/transports`);
    await proxy.do('delay', { seconds: 0.1 });
    const stream = collect(connection.stream('Count', 50, 1));
    for (const i of range(50)) connection.send('ToCaller', String(i));
    for (const i of range(50)) assert.equal(await inbox.next(), `ToCaller: ${i}`);
    assert.equal(await stream.ended, 'complete');
    assert.deepEqual(stream.items, range(50));
    const changed = states.next();
    await connection.stop();
    assert.deepEqual(await changed, { state: 'closed', error: undefined });
  });
});
