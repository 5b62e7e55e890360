// What only a page can do with Microsoft's classic client: generated proxies, JSONP, and the choice of a transport.

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { JQUERY, TRANSPORTS, call, closePages, connect, inboxOf, openPage, refusal, watch } from './classic_helpers.mjs';
import { failure, logLine, setting, unique, within } from './helpers.mjs';

const site = setting('PEER_URL');

async function loadScript(window, src) {
  const script = window.document.createElement('script');
  const loaded = new Promise((resolve, reject) => {
    script.onload = resolve;
    script.onerror = () => reject(new Error(`${src} does not load`));
  });
  window.document.head.append(Object.assign(script, { src }));
  await within(loaded, src);
}

// A page with the generated proxies of a mount.
async function pageWithProxies(mount = '/signalr', name = 'hubs') {
  const window = openPage(site);
  await loadScript(window, `${mount}/${name}`);
  return window.jQuery.connection;
}

describe('a page', { concurrency: true }, () => {
  after(closePages);

  test('generated proxies name the hubs and their methods', async () => {
    for (const [mount, name] of [['/signalr', 'hubs'], ['/signalr', 'js'], ['/detailed', 'hubs']]) {
      const { hub, peer, secret, bench } = await pageWithProxies(mount, name);
      assert.equal(hub.url, mount);
      assert.equal(peer.hubName, 'peer');
      const methods = Object.keys(peer.server);
      for (const method of ['add', 'countState', 'echo', 'echoRecord', 'getConnectionId', 'join', 'progress', 'toOthersInGroup']) {
        assert.ok(methods.includes(method), method);
      }
      assert.deepEqual(methods, methods.toSorted());
      assert.deepEqual(Object.keys(secret.server), ['echo']);
      assert.deepEqual(Object.keys(bench.server), ['broadcast', 'echo']);
    }
  });

  test('generated proxies call and are called', async (t) => {
    for (const transport of TRANSPORTS) {
      const { hub, peer, bench } = await pageWithProxies();
      const heard = new Promise((resolve) => {
        peer.client.message = (kind, text) => kind === 'ToCaller' && resolve(text);
      });
      t.after(() => hub.stop());
      await within(hub.start({ transport }), 'the start');
      assert.equal(hub.transport.name, transport);
      assert.equal(await peer.server.add(2, 3), 5);
      assert.equal(await peer.server.getConnectionId(), hub.id);
      assert.equal(await bench.server.echo('unheard'), 'unheard');
      assert.equal(await peer.server.countState(), 1);
      assert.equal(peer.state.counter, 1);
      await peer.server.toCaller('hello');
      assert.equal(await within(heard, 'a message'), 'hello');
      assert.equal(await failure(peer.server.failHub('no')), 'no');
      hub.stop();
    }
  });

  test('a generated proxy forgets a callback, and listens to it again', async (t) => {
    const { hub, peer } = await pageWithProxies();
    const heard = [];
    peer.client.message = (kind, text) => heard.push(text);
    const more = [];
    const listener = (kind, text) => more.push(text);
    peer.on('message', listener);
    t.after(() => hub.stop());
    await within(hub.start({ transport: 'webSockets' }), 'the start');
    await peer.server.toCaller('one');
    peer.off('message', listener);
    await peer.server.toCaller('two');
    const id = await peer.server.getConnectionId();
    hub.stop();
    await within(hub.start({ transport: 'webSockets' }), 'the second start');
    assert.notEqual(await peer.server.getConnectionId(), id);
    const last = new Promise((resolve) => peer.on('message', (kind, text) => text === 'three' && resolve()));
    await peer.server.toCaller('three');
    await within(last, 'the last message');
    assert.deepEqual(heard.filter((text) => ['one', 'two', 'three'].includes(text)), ['one', 'two', 'three']);
    assert.deepEqual(more, ['one']);
  });

  test('the script says so where the client is missing', async () => {
    const window = openPage(site, [JQUERY]);
    const failed = new Promise((resolve) => window.addEventListener('error', (event) => resolve(event.message)));
    await loadScript(window, '/signalr/hubs');
    assert.match(await within(failed, 'an error'), /^SignalR: /);
  });

  test('JSONP serves a page of another origin where it is enabled', async (t) => {
    const window = openPage('http://app.example');
    // As scripts made by scripts are in browsers; in jsdom a result would wait for the poll that was asked for before it.
    window.jQuery.ajaxSetup({ scriptAttrs: { async: true } });
    const connection = window.jQuery.hubConnection(`${site}/detailed`, { useDefaultPath: false });
    watch(connection);
    const peer = connection.createHubProxy('peer');
    const inbox = inboxOf(peer);
    t.after(() => connection.stop());
    await within(connection.start({ jsonp: true }), 'the start');
    assert.equal(connection.transport.name, 'longPolling');
    assert.equal(connection.ajaxDataType, 'jsonp');
    assert.equal(await call(peer, 'Echo', '漢字 "</script>" \u2028'), '漢字 "</script>" \u2028');
    assert.deepEqual(await refusal(peer, 'FailHubData', 'no'), { text: 'no', source: 'HubException', data: { text: 'no' } });
    const group = unique('group');
    await call(peer, 'Join', group);
    await call(peer, 'ToGroup', group, 'one');
    await call(peer, 'ToCaller', 'two');
    assert.deepEqual([await inbox.next(), await inbox.next()].sort(), ['ToCaller: two', 'ToGroup: one']);
    await within(window.jQuery.signalR.transports._logic.pingServer(connection), 'an answer to a ping');
  });

  test('JSONP is refused where it is not enabled', async (t) => {
    const window = openPage('http://app.example');
    const connection = window.jQuery.hubConnection(`${site}/signalr`, { useDefaultPath: false });
    connection.createHubProxy('peer').on('Message', () => {});
    t.after(() => connection.stop());
    assert.match(await failure(connection.start({ jsonp: true })), /^Error during negotiation request\./);
  });

  test('left to itself it takes web sockets, then what else it can', async (t) => {
    const { connection } = await connect(t, `${site}/signalr`, { window: openPage(site), transport: 'auto' });
    assert.equal(connection.transport.name, 'webSockets');
    for (const [missing, expected] of [[['WebSocket'], 'serverSentEvents'], [['WebSocket', 'EventSource'], 'longPolling']]) {
      const window = openPage('http://app.example'); // of the page's own origin it would try forever frame before long polling
      for (const name of missing) delete window[name];
      const client = await connect(t, `${site}/signalr`, { window, transport: 'auto' });
      assert.equal(client.connection.transport.name, expected);
      assert.equal(await call(client.peer, 'Echo', 'here'), 'here');
    }
  });

  test('when a transport does not work it falls back with the same id, and the hub learns of one connection', async (t) => {
    const window = openPage(site);
    window.WebSocket = class extends window.WebSocket {
      constructor(url) {
        super(url.replace('/signalr/connect', '/nowhere'));
      }
    };
    const { connection, peer, id } = await connect(t, `${site}/signalr`, { window, transport: ['webSockets', 'serverSentEvents'] });
    assert.equal(connection.transport.name, 'serverSentEvents');
    assert.equal(await call(peer, 'GetConnectionId'), id);
    await logLine(site, (line) => line === `connected ${id}`);
    const events = await call(peer, 'GetEvents');
    assert.deepEqual(events.filter((line) => line.includes(id)), [`connected ${id}`]);
  });

  test('leaving the page stops the connection', async (t) => {
    const window = openPage(site);
    const { id, states } = await connect(t, `${site}/signalr`, { window });
    window.dispatchEvent(new window.Event('unload'));
    assert.equal(await states.next(), 'disconnected');
    await logLine(site, (line) => line === `disconnected ${id} True`);
  });
});
