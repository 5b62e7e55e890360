// signalr-client, which knows web sockets only. It asks for /start as soon as the socket is open, and comes back through /connect.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import signalR from 'signalr-client';
import { inboxOf } from './classic_helpers.mjs';
import { Queue, logLine, setting, unique, within } from './helpers.mjs';
import { Proxy } from './transports/way.mjs';

const site = setting('PEER_URL');
const SECONDS_TO_RECONNECT = 0.1;

console.log = () => {}; // it says there what nobody handles

// A client that is ended when the test ends. `starts` is whether it has a handler for it, without which it never asks for /start.
function build(t, url, { hubs = ['peer'], headers = {}, starts = true } = {}) {
  const client = new signalR.client(url, hubs, SECONDS_TO_RECONNECT, true);
  const states = new Queue('a change of state');
  const { serviceHandlers } = client;
  if (starts) serviceHandlers.connected = () => states.push('connected');
  else serviceHandlers.bound = () => states.push('bound');
  for (const state of ['connectFailed', 'onUnauthorized', 'onerror', 'disconnected']) serviceHandlers[state] = () => states.push(state);
  serviceHandlers.reconnected = (socket) => {
    states.push('reconnected');
    t.after(() => socket.close()); // its own end() does nothing from then on
  };
  Object.assign(client.headers, headers);
  const inbox = inboxOf({ on: (name, handler) => client.on('peer', name, handler) });
  let isOver = false;
  serviceHandlers.reconnecting = () => isOver; // true keeps it from trying
  t.after(() => {
    isOver = true;
    client.end();
  });
  client.start();
  return { client, inbox, states };
}

async function connect(t, url, options) {
  const built = build(t, url, options);
  assert.equal(await built.states.next(), 'connected');
  return { ...built, id: built.client.connection.id };
}

async function call(client, method, ...args) {
  const answered = new Promise((resolve, reject) => {
    client.call('peer', method, ...args).done((error, result) => (error ? reject(new Error(error)) : resolve(result)));
  });
  return within(answered, `an answer to ${method}`);
}

describe('signalr-client', { concurrency: true }, () => {
  test('calls are answered', async (t) => {
    const { client, id } = await connect(t, `${site}/signalr`);
    assert.equal(await call(client, 'Add', 2, 3), 5);
    assert.equal(await call(client, 'echo', '漢字 😀 "\u2028'), '漢字 😀 "\u2028');
    assert.equal(await call(client, 'Nothing'), undefined);
    assert.equal(await call(client, 'GetConnectionId'), id);
    assert.equal((await call(client, 'Big', 300_000)).length, 300_000);
    await assert.rejects(call(client, 'FailHub', 'Sorry, Zoë.'), new Error('Sorry, Zoë.'));
    await assert.rejects(call(client, 'Nope'), new Error("There was an error invoking Hub method 'peer.Nope'."));
    await logLine(site, (line) => line === `connected ${id}`);
  });

  test('messages reach users, groups and single clients', async (t) => {
    const ann = unique('ann');
    const one = await connect(t, `${site}/signalr`);
    const two = await connect(t, `${site}/signalr`, { headers: { Cookie: `user=${ann}` } });
    assert.equal(await call(two.client, 'GetUserName'), ann);
    const group = unique('group');
    for (const { client } of [one, two]) await call(client, 'Join', group);
    for (const [method, ...args] of [['ToUser', ann], ['ToClient', two.id], ['ToOthersInGroup', group], ['ToGroupExcept', group, one.id]]) {
      await call(one.client, method, ...args, 'to two');
      assert.equal(await two.inbox.next(), `${method}: to two`);
    }
    await call(two.client, 'Leave', group);
    await call(one.client, 'ToGroup', group, 'to one');
    await call(one.client, 'ToCaller', 'to one');
    assert.deepEqual([await one.inbox.next(), await one.inbox.next()].sort(), ['ToCaller: to one', 'ToGroup: to one']);
  });

  test('its end is a stop', async (t) => {
    const { client, id, states } = await connect(t, `${site}/signalr`);
    client.end();
    assert.equal(await states.next(), 'disconnected');
    await logLine(site, (line) => line === `disconnected ${id} True`);
  });

  test('it comes back with the token it had after a cut', async (t) => {
    const proxy = await Proxy.to(t, site);
    const other = await connect(t, `${site}/signalr`);
    const { client, id, inbox, states } = await connect(t, `${proxy.url}/signalr`);
    for (let round = 0; round < 3; round += 1) {
      await proxy.do('cut');
      assert.deepEqual([await states.next(), await states.next()], ['disconnected', 'reconnected']);
      assert.equal(await call(client, 'GetConnectionId'), id);
      await call(other.client, 'ToClient', id, String(round));
      assert.equal(await inbox.next(), `ToClient: ${round}`);
      const group = unique('group');
      await call(client, 'Join', group);
      await call(other.client, 'ToGroup', group, String(round));
      assert.equal(await inbox.next(), `ToGroup: ${round}`);
    }
    const events = await call(client, 'GetEvents');
    assert.deepEqual(events.filter((line) => line.includes(id)), [`connected ${id}`]);
  });

  test('one that never asks to start calls and is called all the same', async (t) => {
    const { client, inbox, states } = build(t, `${site}/signalr`, { starts: false });
    assert.equal(await states.next(), 'bound');
    assert.equal(await call(client, 'Add', 2, 3), 5);
    await call(client, 'ToCaller', 'hello');
    assert.equal(await inbox.next(), 'ToCaller: hello');
    await call(client, 'ToClient', await call(client, 'GetConnectionId'), 'hello again');
    assert.equal(await inbox.next(), 'ToClient: hello again');
  });

  test('a hub that asks for a login refuses it', async (t) => {
    const { states } = build(t, `${site}/signalr`, { hubs: ['secret'] });
    assert.equal(await states.next(), 'onUnauthorized');
  });
});
