// Calling hub methods: results, errors, order.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, failure, setting, unique, within } from './helpers.mjs';

const site = setting('PEER_URL');

test('results come back', async (t) => {
  const { connection } = await connect(t, `${site}/peer`);
  assert.equal(await connection.invoke('Add', 2, 3), 5);
  assert.equal(await connection.invoke('Echo', null), null);
  assert.equal(await connection.invoke('GetUserName'), null);
});

test('a method without a result gives null, and so does one that runs in a thread', async (t) => {
  const { connection } = await connect(t, `${site}/everything`);
  assert.equal(await connection.invoke('ToUser', 'nobody', 'hello'), null);
  assert.equal(await connection.invoke('Nothing'), null);
});

test('text of any kind survives', async (t) => {
  const { connection } = await connect(t, `${site}/peer`);
  const control = Array.from({ length: 0x20 }, (_, code) => String.fromCharCode(code)).join('');
  for (const text of ['', 'é', '漢字かな', '👩‍👩‍👧‍👦😀', 'مرحبا', control, '"\\/\u2028\u2029\u007f\ufeff</script>', ' ']) {
    assert.equal(await connection.invoke('Echo', text), text);
  }
});

test('a record keeps every kind of value', async (t) => {
  const { connection } = await connect(t, `${site}/peer`);
  const child = { Text: 'child', List: [1, 2, 3], Map: { 'any key': 1 } };
  const sent = {
    Int: -5, Long: 2 ** 52, Double: 1.25, Bool: true, Text: 'é', Missing: null, Bytes: 'AQID', When: '2000-01-02T03:04:05Z',
    Id: '00112233-4455-6677-8899-aabbccddeeff', Money: 12.5, Color: 1, List: [], Map: {}, Child: child,
  };
  const got = await connection.invoke('EchoRecord', sent);
  assert.deepEqual({ ...got, Child: null }, { ...sent, Child: null });
  assert.deepEqual({ ...got.Child, ...child }, got.Child);
  assert.equal(await connection.invoke('EchoRecord', null), null);
});

test('a result of one MiB arrives whole', async (t) => {
  const { connection } = await connect(t, `${site}/peer`);
  assert.equal(await connection.invoke('Big', 2 ** 20), 'x'.repeat(2 ** 20));
});

test('a method answers to its name in snake, camel and Pascal case and keeps state in items', async (t) => {
  const { connection } = await connect(t, `${site}/everything`);
  assert.equal(await connection.invoke('remember_me', 'a', 1), 1);
  assert.equal(await connection.invoke('rememberMe', 'b', 2), 2);
  assert.equal(await connection.invoke('RememberMe', 'a'), 1);
  const other = await connect(t, `${site}/everything`);
  assert.equal(await other.connection.invoke('RememberMe', 'a'), null);
});

const cannotInvoke = (name) => `Failed to invoke '${name}' due to an error on the server.`;
const unexpected = (name) => `An unexpected error occurred invoking '${name}' on the server.`;
const misfit = 'Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked.';
const FAILURES = [
  // [arguments of invoke, the error's text, what detailed errors add]
  [['FailHub', 'Sorry, Zoë.'], `${unexpected('FailHub')} HubException: Sorry, Zoë.`, ''],
  [['Fail', 'secret'], unexpected('Fail'), ' InvalidOperationException: secret'],
  [['Nope'], `${cannotInvoke('Nope')} HubException: Method does not exist.`, ''],
  [['on_connected'], `${cannotInvoke('on_connected')} HubException: Method does not exist.`, ''],
  [['Add', 1], cannotInvoke('Add'), ' InvalidDataException: Invocation provides 1 argument(s) but target expects 2.'],
  [['Add', 1, 2, 3], cannotInvoke('Add'), ' InvalidDataException: Invocation provides 3 argument(s) but target expects 2.'],
  [['add', 1, 'two'], cannotInvoke('Add'), ` InvalidDataException: ${misfit}`],
  [['Add', 1, 2.5], cannotInvoke('Add'), ` InvalidDataException: ${misfit}`],
  [['Add', 1, null], cannotInvoke('Add'), ` InvalidDataException: ${misfit}`],
  [['Add', 1, 2 ** 31], cannotInvoke('Add'), ` InvalidDataException: ${misfit}`],
  [['Echo', { no: 'text' }], cannotInvoke('Echo'), ` InvalidDataException: ${misfit}`],
  [['Count', 3, 0], 'The client attempted to invoke the streaming \'Count\' method with a non-streaming invocation.', ''],
];

test('an invocation that fails says why, in full with detailed errors', async (t) => {
  const { connection } = await connect(t, `${site}/peer`);
  for (const [args, text, detail] of FAILURES) assert.equal(await failure(connection.invoke(...args)), text + detail);
  assert.equal(await connection.invoke('Echo', 'still here'), 'still here');
});

test('without detailed errors only a HubException tells its text', async (t) => {
  const { connection } = await connect(t, `${site}/peer-strict`, { configure: (c) => { c.keepAliveIntervalInMilliseconds = 500; } });
  for (const [args, text] of FAILURES) assert.equal(await failure(connection.invoke(...args)), text);
  assert.equal(await connection.invoke('Echo', 'still here'), 'still here');
});

test('a subclass of HubException is named', async (t) => {
  const { connection } = await connect(t, `${site}/everything`);
  assert.equal(await failure(connection.invoke('FailOwn', 'No cakes.')), `${unexpected('FailOwn')} OutOfStock: No cakes.`);
});

test('a failed send is silent', async (t) => {
  const { connection, inbox } = await connect(t, `${site}/peer`);
  for (const [args] of FAILURES) await connection.send(...args);
  await connection.send('ToCaller', 'after them');
  assert.equal(await inbox.next(), 'ToCaller: after them');
  assert.equal(await connection.invoke('Echo', 'still here'), 'still here');
});

test('500 sends keep their order', async (t) => {
  const { connection, inbox } = await connect(t, `${site}/peer`);
  for (let i = 0; i < 500; i += 1) connection.send('ToCaller', String(i));
  for (let i = 0; i < 500; i += 1) assert.equal(await inbox.next(), `ToCaller: ${i}`);
});

test('200 calls at once are all answered, each with its own result', async (t) => {
  const { connection } = await connect(t, `${site}/peer`);
  const calls = Array.from({ length: 200 }, (_, i) => connection.invoke(...(i % 2 ? ['Add', i, 1] : ['Echo', String(i)])));
  const results = await within(Promise.all(calls), 'all answers');
  results.forEach((result, i) => assert.equal(result, i % 2 ? i + 1 : String(i)));
});

test('what a method sends to its caller arrives before its result', async (t) => {
  const { connection } = await connect(t, `${site}/peer`);
  const order = [];
  connection.on('Message', (kind, text) => order.push(text));
  for (let i = 0; i < 20; i += 1) await connection.invoke('ToCaller', `message ${i}`).then(() => order.push(`result ${i}`));
  assert.deepEqual(order, Array.from({ length: 20 }, (_, i) => [`message ${i}`, `result ${i}`]).flat());
});

test('calls of one connection wait for each other', async (t) => {
  const { connection } = await connect(t, `${site}/peer`);
  const order = [];
  const slow = connection.invoke('Slow', 300).then(() => order.push('slow'));
  const quick = connection.invoke('Echo', 'x').then(() => order.push('quick'));
  await within(Promise.all([slow, quick]), 'both answers');
  assert.deepEqual(order, ['slow', 'quick']);
});

test('calls of two connections do not', async (t) => {
  const one = await connect(t, `${site}/peer`);
  const two = await connect(t, `${site}/peer`);
  const order = [];
  const slow = one.connection.invoke('Slow', 1000).then(() => order.push('slow'));
  const quick = two.connection.invoke('Echo', 'x').then(() => order.push('quick'));
  await within(Promise.all([slow, quick]), 'both answers');
  assert.deepEqual(order, ['quick', 'slow']);
});

test('four calls of one connection run at once where four may', async (t) => {
  const { connection } = await connect(t, `${site}/peer-parallel`);
  const order = [];
  const call = (name, ...args) => connection.invoke(...args).then(() => order.push(name));
  const calls = [call('slowest', 'Slow', 1200), call('slower', 'Slow', 800), call('slow', 'Slow', 400), call('quick', 'Echo', 'x')];
  await within(Promise.all(calls), 'all answers');
  assert.deepEqual(order, ['quick', 'slow', 'slower', 'slowest']);
});

test('a fifth call waits for one of the four', async (t) => {
  const { connection } = await connect(t, `${site}/peer-parallel`);
  const order = [];
  const call = (name, ...args) => connection.invoke(...args).then(() => order.push(name));
  const calls = [1200, 1200, 1200, 400].map((ms) => call(`slow ${ms}`, 'Slow', ms));
  calls.push(call('fifth', 'Echo', 'x'));
  await within(Promise.all(calls), 'all answers');
  assert.deepEqual(order.slice(0, 2), ['slow 400', 'fifth']);
});

test('a plain def sends and joins through the sync face', async (t) => {
  const { connection, inbox } = await connect(t, `${site}/everything`);
  assert.equal(await connection.invoke('JoinAndSendFromThread', unique('group'), 'to the group'), 'to the group');
  assert.equal(await inbox.next(), 'JoinAndSendFromThread: to the group');
  assert.equal(await inbox.next(), 'JoinAndSendFromThread: to the caller');
  await connection.invoke('ToCaller', 'end');
  assert.deepEqual(await inbox.before('end'), []);
});
