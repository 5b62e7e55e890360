// Calls and messages, the same on every transport and in every hub protocol.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HubConnectionState, Queue, failure, historyOf, logLine, setting, unique, within } from '../helpers.mjs';
import { TRANSPORT, build, call, connect, isBinary, range, stop } from './way.mjs';

const site = setting('PEER_URL');
const hub = `${site}/transports`;

test('invoke gives results', async (t) => {
  const { connection, id } = await connect(t, hub);
  assert.equal(await call(connection, 'Add', 2, -3), -1);
  assert.equal(await call(connection, 'Echo', null), null);
  assert.equal(await call(connection, 'Nothing'), null);
  assert.equal(connection.connectionId, TRANSPORT === 'direct' ? null : id);
  for (const text of ['', 'é', '漢字かな', '👩‍👩‍👧‍👦😀', '"\\/\u2028\u001e\u0000\u007f\ufeff', 'two\r\nlines\n', ' ']) {
    assert.equal(await call(connection, 'Echo', text), text);
  }
});

test('200 sends keep their order', async (t) => {
  const { connection, inbox } = await connect(t, hub);
  for (const i of range(200)) connection.send('ToCaller', String(i));
  for (const i of range(200)) assert.equal(await inbox.next(), `ToCaller: ${i}`);
});

test('100 calls at once each get their own result', async (t) => {
  const { connection } = await connect(t, hub);
  const results = await Promise.all(range(100).map((i) => call(connection, ...(i % 2 ? ['Add', i, 1] : ['Echo', String(i)]))));
  results.forEach((result, i) => assert.equal(result, i % 2 ? i + 1 : String(i)));
});

test('a record keeps every kind of value', async (t) => {
  const { connection } = await connect(t, hub);
  const inJson = { Bytes: 'AAECgP8=', When: '2000-01-02T03:04:05Z', Money: 12.5, Color: 1 };
  const inMessagePack = {
    Bytes: new Uint8Array([0, 1, 2, 128, 255]), When: new Date('2000-01-02T03:04:05.678Z'), Money: '12.50', Color: 'Green',
  };
  const child = { Text: 'child', List: [1, -2, 2 ** 31 - 1], Map: { 'any key': 1, 'é': 2 } };
  const sent = {
    Int: -(2 ** 31), Long: 2 ** 52 + 1, Double: 1.25, Bool: true, Text: 'é😀', Missing: null, Id: '00112233-4455-6677-8899-aabbccddeeff',
    List: [], Map: {}, ...(isBinary ? inMessagePack : inJson), Child: child,
  };
  const got = await call(connection, 'EchoRecord', sent);
  assert.deepEqual({ ...got, Child: null }, { ...sent, Child: null });
  assert.deepEqual({ ...got.Child, ...child }, got.Child);
  assert.equal(got.Child.Child, null);
  assert.equal(await call(connection, 'EchoRecord', null), null);
});

test('a result of one MiB arrives whole', async (t) => {
  const { connection } = await connect(t, hub);
  assert.equal(await call(connection, 'Big', 2 ** 20), 'x'.repeat(2 ** 20));
});

test('a call that fails says why, and the connection lives on', async (t) => {
  const { connection } = await connect(t, hub);
  const cannotInvoke = (name) => `Failed to invoke '${name}' due to an error on the server.`;
  const misfit = 'Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked.';
  for (const [args, text] of [
    [['FailHub', 'Sorry, Zoë.'], 'An unexpected error occurred invoking \'FailHub\' on the server. HubException: Sorry, Zoë.'],
    [['Fail', 'broken'], 'An unexpected error occurred invoking \'Fail\' on the server. InvalidOperationException: broken'],
    [['Nope'], `${cannotInvoke('Nope')} HubException: Method does not exist.`],
    [['Add', 1], `${cannotInvoke('Add')} InvalidDataException: Invocation provides 1 argument(s) but target expects 2.`],
    [['Add', 1, 'two'], `${cannotInvoke('Add')} InvalidDataException: ${misfit}`],
    [['Count', 3, 0], 'The client attempted to invoke the streaming \'Count\' method with a non-streaming invocation.'],
  ]) {
    assert.equal(await failure(connection.invoke(...args)), text);
    await connection.send(...args);
  }
  assert.equal(await call(connection, 'Echo', 'still here'), 'still here');
});

test('a message as long as may be passes, and a longer one ends the connection', async (t) => {
  const { connection, states } = await connect(t, hub);
  // 32,768 bytes with the framing, whose length depends on the invocation id.
  const longest = (id) => 'x'.repeat(32_768 - (isBinary
    ? 3 + 1 + 1 + 1 + 1 + id.length + 1 + 'Echo'.length + 1 + 3
    : JSON.stringify({ arguments: [''], invocationId: id, target: 'Echo', type: 1 }).length + 1));
  // "1" since the id of the connection was asked for first.
  const text = longest('1');
  assert.equal(await call(connection, 'Echo', text), text);
  const refused = failure(connection.invoke('Echo', `${longest('2')}x`));
  const { state, error } = await states.next();
  assert.equal(state, 'closed');
  const limit = 'InvalidDataException: The maximum message size of 32768B was exceeded. The message size can be configured in AddHubOptions.';
  assert.equal(error, `Server returned an error on close: Connection closed with an error. ${limit}`);
  await refused;
});

test('a message of four MiB passes where there is no limit', async (t) => {
  const { connection } = await connect(t, `${site}/everything-unlimited`);
  const text = 'é'.repeat(2 ** 21);
  assert.ok(await call(connection, 'Echo', text) === text);
});

test('a client answers what the hub asks', async (t) => {
  const asking = await connect(t, hub);
  const asked = await connect(t, hub);
  assert.match(
    await failure(asking.connection.invoke('AskClient', asked.id, 1)),
    /^An unexpected error occurred invoking 'AskClient' on the server\. HubException: Client didn't provide a result\.$/,
  );
  asked.connection.on('Ask', async (n) => {
    if (n < 0) throw new Error(`not ${n}`);
    return n * 2;
  });
  assert.equal(await call(asking.connection, 'AskClient', asked.id, 21), 42);
  assert.match(await failure(asking.connection.invoke('AskClient', asked.id, -1)), /HubException: Error: not -1$/);
  asking.connection.on('Ask', (n) => n + 1);
  assert.equal(await call(asking.connection, 'AskClient', asking.id, 1), 2);
  const answers = await Promise.all(range(20).map((n) => call(asking.connection, 'AskClient', asked.id, n)));
  assert.deepEqual(answers, range(20).map((n) => n * 2));
  assert.match(await failure(asking.connection.invoke('AskClient', 'AAAAAAAAAAAAAAAAAAAAAA', 1)), /Connection 'AAAAAAAAAAAAAAAAAAAAAA' does not exist\.$/);
});

test('a client that leaves while it is asked leaves an error', async (t) => {
  const asking = await connect(t, hub);
  const asked = await connect(t, hub);
  const questions = new Queue('a question');
  asked.connection.on('Ask', (n) => {
    questions.push(n);
    return new Promise(() => {});
  });
  const answer = failure(asking.connection.invoke('AskClient', asked.id, 1));
  await questions.next();
  await asked.connection.stop();
  assert.match(await answer, new RegExp(`Connection '${asked.id}' disconnected\\.$`));
});

test('a connection its own call aborts stays closed', async (t) => {
  const { connection, id, states } = await connect(t, hub, { delays: [0] });
  const aborted = failure(connection.invoke('AbortMe'));
  assert.deepEqual(await states.next(), { state: 'closed', error: undefined });
  assert.equal(await aborted, 'Invocation canceled due to the underlying connection being closed.');
  assert.equal(await logLine(site, (line) => line.startsWith(`ended ${id} `)), `ended ${id} closed_by_app False False -`);
});

test('a hub whose on_connected fails turns the client away', async () => {
  const { connection, states } = build(`${site}/closed`, { delays: [0] });
  // The Close comes after the handshake, so the start may have succeeded before it.
  const started = connection.start().catch((error) => states.push({ state: 'closed', error: error.message }));
  const text = 'Server returned an error on close: Connection closed with an error. HubException: We are closed.';
  const { state, error } = await states.next();
  assert.equal(state, 'closed');
  // With an event stream the client's first ping is a request of its own, and may find nobody there before the Close is read.
  if (TRANSPORT !== 'serverSentEvents' || error !== 'No Connection with that ID: Status code \'404\'') assert.equal(error, text);
  await within(started, 'the end of the start');
  assert.equal(connection.state, HubConnectionState.Disconnected);
});

test('a stopped connection is gone at once and starts again under another id', async (t) => {
  const { connection, id, states } = await connect(t, hub);
  const group = unique('group');
  await call(connection, 'Join', group);
  await stop(connection);
  assert.deepEqual(await states.next(), { state: 'closed', error: undefined });
  const ended = (await logLine(site, (line) => line.startsWith(`ended ${id} `))).slice(`ended ${id} `.length);
  assert.match(ended, {
    webSockets: /^client_closed True False -$/,
    direct: /^client_closed True False -$/,
    serverSentEvents: /^client_closed True False -$/,
    // It sends a Close and a DELETE side by side; a DELETE alone would let it come back.
    longPolling: /^client_closed True (True|False) -$/,
  }[TRANSPORT]);
  await within(connection.start(), 'the second start');
  assert.notEqual(await call(connection, 'GetConnectionId'), id);
});

test('the history says of 20 stops that the client closed, and of nothing that was refused', async (t) => {
  const ids = [];
  for (let round = 0; round < 20; round++) {
    const { connection, id } = await connect(t, hub);
    await stop(connection);
    ids.push(id);
  }
  const expected = TRANSPORT === 'direct' ? ['connected'] : ['negotiated', 'connected'];
  for (const id of ids) await historyOf(site, id);
  for (const id of ids) assert.deepEqual(await historyOf(site, id), [...expected, 'disconnected client_closed']);
});

test('an idle connection lives on', async (t) => {
  const { connection, inbox, states, requests } = await connect(t, `${site}/transports-quick`, {
    configure: (c) => {
      c.serverTimeoutInMilliseconds = 3000;
      c.keepAliveIntervalInMilliseconds = 500;
    },
  });
  if (TRANSPORT === 'longPolling') {
    // Three polls in a row that nobody had anything for.
    for (let empty = 0; empty < 3;) empty = (await requests.nextWhere(({ method }) => method === 'GET')).size === 0 ? empty + 1 : 0;
  } else {
    await call(connection, 'Slow', 3500);
  }
  await call(connection, 'ToCaller', 'still here');
  assert.equal(await inbox.next(), 'ToCaller: still here');
  const changed = states.next();
  await connection.stop();
  assert.deepEqual(await changed, { state: 'closed', error: undefined });
});
