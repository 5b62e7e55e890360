// Calls, messages and groups with Microsoft's classic client, over the transport that WAY names.

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { TRANSPORT, call, closePages, connect, openPage, progress, refusal, sharedPage } from './classic_helpers.mjs';
import { failure, logLine, setting, unique, within } from './helpers.mjs';

const site = setting('PEER_URL');
const hubs = `${site}/signalr`;
const detailed = `${site}/detailed`;
const range = (length) => Array.from({ length }, (_, i) => i);

const neutral = (name) => `There was an error invoking Hub method 'peer.${name}'.`;
const FAILURES = [
  // [arguments of invoke, the error's detailed text or its beginning]
  [['Fail', 'secret'], 'secret'],
  [['Nope'], "'Nope' method could not be resolved."],
  [['OnConnected'], "'OnConnected' method could not be resolved."],
  [['Add', 1], "'Add' method could not be resolved."],
  [['Add', 1, 2, 3], "'Add' method could not be resolved."],
  [['Add', 1, 'two'], ''],
  [['Add', 1, null], ''],
  [['Echo', { no: 'text' }], ''],
];

describe('a classic client', { concurrency: true }, () => {
  after(closePages);

  test('it starts on the transport it was told to use', async (t) => {
    const { connection, peer, id } = await connect(t, hubs);
    assert.equal(connection.transport.name, TRANSPORT);
    assert.equal(await call(peer, 'GetConnectionId'), id);
    assert.match(id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    await logLine(site, (line) => line === `connected ${id}`);
  });

  test('results come back', async (t) => {
    const { peer } = await connect(t, hubs);
    assert.equal(await call(peer, 'Add', 2, 3), 5);
    assert.equal(await call(peer, 'add', 2, -3), -1);
    assert.equal(await call(peer, 'Nothing'), undefined);
    assert.equal(await call(peer, 'Echo', null), undefined);
    assert.equal(await call(peer, 'Slow', 20), 'done');
    assert.equal(await call(peer, 'Big', 300_000), 'x'.repeat(300_000));
  });

  test('text of any kind survives', async (t) => {
    const { peer } = await connect(t, hubs);
    const control = String.fromCharCode(...range(0x20));
    const others = ['"\\/\u0085\u2028\u2029\u007f\ufeff</script>', ' ', '+&=%', '2024-01-02T03:04:05Z', '2024-01-02'];
    for (const text of ['', 'é', '漢字かな', '👩‍👩‍👧‍👦😀', 'مرحبا', control, ...others]) {
      assert.equal(await call(peer, 'Echo', text), text);
    }
  });

  test('a record keeps every kind of value', async (t) => {
    const { peer } = await connect(t, hubs);
    const child = { Text: 'child', List: [1, 2, 3], Map: { 'any key': 1 } };
    const sent = {
      Int: -5, Long: 2 ** 52, Double: 1.25, Bool: true, Text: 'é', Missing: null, Bytes: 'AQID', When: '2000-01-02T03:04:05Z',
      Id: '00112233-4455-6677-8899-aabbccddeeff', Money: 12.5, Color: 1, List: [], Map: {}, Child: child,
    };
    const got = await call(peer, 'EchoRecord', sent);
    assert.deepEqual({ ...got, Child: null }, { ...sent, Child: null });
    assert.deepEqual({ ...got.Child, ...child }, got.Child);
    assert.equal(await call(peer, 'EchoRecord', null), undefined);
  });

  test('without detailed errors only a HubException tells its text', async (t) => {
    const { peer } = await connect(t, hubs);
    for (const [args] of FAILURES) {
      assert.deepEqual(await refusal(peer, ...args), { text: neutral(args[0]), source: 'Exception', data: undefined });
    }
    assert.equal(await call(peer, 'Echo', 'still here'), 'still here');
  });

  test('detailed errors say what went wrong', async (t) => {
    const { peer } = await connect(t, detailed);
    for (const [args, text] of FAILURES) {
      const error = await refusal(peer, ...args);
      assert.equal(error.source, 'Exception');
      assert.notEqual(error.text, neutral(args[0]));
      assert.ok(error.text.startsWith(text), error.text);
    }
    assert.equal(await call(peer, 'Echo', 'still here'), 'still here');
  });

  test('a HubException brings its text and its data', async (t) => {
    for (const url of [hubs, detailed]) {
      const { peer } = await connect(t, url);
      assert.deepEqual(await refusal(peer, 'FailHub', 'Sorry, Zoë.'), { text: 'Sorry, Zoë.', source: 'HubException', data: undefined });
      assert.deepEqual(await refusal(peer, 'FailHubData', 'no'), { text: 'no', source: 'HubException', data: { text: 'no' } });
    }
  });

  test('the state of a proxy goes there and back', async (t) => {
    const { peer } = await connect(t, hubs);
    peer.state.untouched = { deep: [1, 2] };
    for (const n of [1, 2, 3]) {
      assert.equal(await call(peer, 'CountState'), n);
      assert.deepEqual(structuredClone(peer.state), { untouched: { deep: [1, 2] }, counter: n });
    }
    peer.state.counter = 41;
    assert.equal(await call(peer, 'CountState'), 42);
  });

  test('progress is reported in order', async (t) => {
    const { connection, peer } = await connect(t, hubs);
    const { arrived, reports, result } = await progress(connection, peer, 'Progress', 5);
    assert.equal(result, 5);
    assert.deepEqual(reports, range(TRANSPORT === 'webSockets' ? 5 : reports.length)); // elsewhere the result takes another way
    for (const i of range(5)) assert.equal(await arrived.next(), i);
  });

  test('50 calls at once are all answered, each with its own result', async (t) => {
    const { peer } = await connect(t, hubs);
    const results = await Promise.all(range(50).map((i) => (i % 2 ? call(peer, 'Add', i, 1) : call(peer, 'Echo', String(i)))));
    results.forEach((result, i) => assert.equal(result, i % 2 ? i + 1 : String(i)));
  });

  test('every audience hears its messages, and nobody else', async (t) => {
    const [ann, bob] = [unique('ann'), unique('bob')];
    const cast = {
      ann1: await connect(t, hubs, { user: ann, hearsAll: true }),
      ann2: await connect(t, hubs, { user: ann, hearsAll: true }),
      bob: await connect(t, hubs, { user: bob, hearsAll: true }),
    };
    assert.equal(await call(cast.ann1.peer, 'GetUserName'), ann);
    const red = unique('red');
    for (const name of ['ann1', 'bob']) await call(cast[name].peer, 'Join', red);
    for (const [method, args, heard] of [
      ['ToAll', [], ['ann1', 'ann2', 'bob']],
      ['ToCaller', [], ['ann1']],
      ['ToOthers', [], ['ann2', 'bob']],
      ['ToClient', [cast.bob.id], ['bob']],
      ['ToUser', [ann], ['ann1', 'ann2']],
      ['ToUser', [bob], ['bob']],
      ['ToUser', [unique('nobody')], []],
      ['ToGroup', [red], ['ann1', 'bob']],
      ['ToOthersInGroup', [red], ['bob']],
      ['ToGroupExcept', [red, cast.bob.id], ['ann1']],
    ]) {
      const text = unique(method);
      const end = unique('end');
      await call(cast.ann1.peer, method, ...args, text);
      for (const one of Object.values(cast)) await call(cast.ann1.peer, 'ToClient', one.id, end);
      for (const [name, one] of Object.entries(cast)) {
        const own = (await one.inbox.before(end)).filter((message) => message.includes(text));
        assert.deepEqual(own, heard.includes(name) ? [`${method}: ${text}`] : [], `${method} to ${name}`);
      }
    }
  });

  test('who has left a group hears no more of it', async (t) => {
    const [one, two] = [await connect(t, hubs), await connect(t, hubs)];
    const [red, green] = [unique('red'), unique('green')];
    await call(two.peer, 'Join', red);
    await call(two.peer, 'Join', green);
    await call(two.peer, 'Join', green);
    await call(two.peer, 'Leave', red);
    await call(one.peer, 'ToGroup', red, 'no');
    await call(one.peer, 'ToGroup', green, 'yes');
    assert.equal(await two.inbox.next(), 'ToGroup: yes');
  });

  test('30 messages of one sender keep their order', async (t) => {
    const [one, two] = [await connect(t, hubs), await connect(t, hubs)];
    for (const i of range(30)) await call(one.peer, 'ToClient', two.id, String(i));
    for (const i of range(30)) assert.equal(await two.inbox.next(), `ToClient: ${i}`);
  });

  test('one connection has several hubs', async (t) => {
    const { peer, secret, bench } = await connect(t, hubs, { user: unique('ann'), hubs: ['secret', 'bench'] });
    const text = unique('text');
    const heard = new Promise((resolve) => bench.on('message', (got) => got === text && resolve()));
    assert.equal(await call(peer, 'Echo', 'a'), 'a');
    assert.equal(await call(secret, 'Echo', 'b'), 'b');
    assert.equal(await call(bench, 'Echo', 'c'), 'c');
    await call(bench, 'Broadcast', text);
    await within(heard, 'the message of the second hub');
  });

  test('a hub that asks for a login leaves the others alone', async (t) => {
    const { peer, secret } = await connect(t, hubs, { hubs: ['secret'] });
    assert.equal(await call(peer, 'Echo', 'a'), 'a');
    assert.deepEqual(await refusal(secret, 'Echo', 'b'), {
      text: "There was an error invoking Hub method 'secret.Echo'.", source: 'Exception', data: undefined,
    });
    const refused = await connect(t, detailed, { hubs: ['secret'] });
    assert.equal((await refusal(refused.secret, 'Echo', 'b')).text, 'Caller is not authorized to invoke the Echo method on secret.');
  });

  test('without a hub that may be had there is no connection', async (t) => {
    for (const name of ['secret', unique('unknown')]) {
      const connection = sharedPage(site).jQuery.hubConnection(hubs, { useDefaultPath: false });
      connection.createHubProxy(name).on('message', () => {});
      t.after(() => connection.stop());
      assert.match(await failure(connection.start({ transport: TRANSPORT })), /^Error during negotiation request\./);
      assert.equal(connection.state, 4);
    }
  });

  test('a connection that listens to nothing still calls', async (t) => {
    const connection = sharedPage(site).jQuery.hubConnection(hubs, { useDefaultPath: false });
    const peer = connection.createHubProxy('peer');
    t.after(() => connection.stop());
    await within(connection.start({ transport: TRANSPORT }), 'the start');
    assert.equal(await call(peer, 'Echo', 'heard'), 'heard');
    assert.equal(await call(peer, 'GetConnectionId'), connection.id);
  });

  test('stopping tells the server at once, and starting again makes a new connection', async (t) => {
    const { connection, peer, id, states, inbox } = await connect(t, hubs);
    connection.stop();
    assert.equal(await states.next(), 'disconnected');
    await logLine(site, (line) => line === `disconnected ${id} True`);
    assert.throws(() => peer.invoke('Echo', 'x'), /Connection must be started before data can be sent/);
    await within(connection.start({ transport: TRANSPORT }), 'the second start');
    assert.notEqual(connection.id, id);
    await call(peer, 'ToCaller', 'again');
    assert.equal(await inbox.next(), 'ToCaller: again');
  });

  test('a ping is answered', async (t) => {
    const { connection } = await connect(t, hubs);
    await within(sharedPage(site).jQuery.signalR.transports._logic.pingServer(connection), 'an answer to a ping');
  });

  test('a page of another origin may connect', async (t) => {
    const window = openPage('http://app.example');
    const { connection, peer, inbox } = await connect(t, hubs, { window });
    assert.equal(window.jQuery.connection.prototype.isCrossDomain(hubs), true);
    assert.equal(connection.withCredentials, true);
    await call(peer, 'ToCaller', 'hello');
    assert.equal(await inbox.next(), 'ToCaller: hello');
  });
});
