// Persistent connections, which have no hubs, with Microsoft's classic client over the transport that WAY names.
// /raw sends back what it gets.

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { TRANSPORT, closePages, sharedPage, start, watch } from './classic_helpers.mjs';
import { Queue, setting } from './helpers.mjs';
import { Proxy } from './transports/way.mjs';

const site = setting('PEER_URL');

async function connect(t, url) {
  const connection = sharedPage(site).jQuery.connection(`${url}/raw`);
  const { states, errors } = watch(connection);
  const received = new Queue('something from the server');
  connection.received((value) => received.push(value));
  await start(t, connection);
  return { connection, states, errors, received };
}

describe('a persistent connection', { concurrency: true }, () => {
  after(closePages);

  test('text goes as it is and comes back so', async (t) => {
    const { connection, errors, received } = await connect(t, site);
    assert.equal(connection.transport.name, TRANSPORT);
    for (const text of ['hello', '{"H":"peer"}', '"quoted"', '漢字 😀 \u2028', '+&=% \n', 'x'.repeat(60_000)]) {
      connection.send(text);
      assert.equal(await received.next(), text);
    }
    assert.deepEqual(errors, []);
  });

  test('other values go as JSON', async (t) => {
    const { connection, received } = await connect(t, site);
    for (const value of [{ a: [1, 2.5, null, true] }, [], 5, false]) {
      connection.send(value);
      assert.equal(await received.next(), JSON.stringify(value));
    }
  });

  test('it comes back after a cut', async (t) => {
    const proxy = await Proxy.to(t, site);
    const { connection, states, received } = await connect(t, proxy.url);
    const { id } = connection;
    await proxy.do('cut');
    for (const state of ['reconnecting', 'reconnected']) assert.equal(await states.next(), state);
    connection.send('back');
    assert.equal(await received.next(), 'back');
    assert.equal(connection.id, id);
  });

  test('it stops and starts again', async (t) => {
    const { connection, states, received } = await connect(t, site);
    const { id } = connection;
    connection.stop();
    assert.equal(await states.next(), 'disconnected');
    await start(t, connection);
    assert.notEqual(connection.id, id);
    connection.send('again');
    assert.equal(await received.next(), 'again');
  });
});
