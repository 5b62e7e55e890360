// Whom a hub method can send to: all twelve members of self.clients, with groups and users.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect, logIn, request, setting, unique } from './helpers.mjs';

const site = setting('PEER_URL');
const hub = `${site}/everything`;

describe('everyone hears what is meant for them', () => {
  // Ann has two connections, Bob one, two are nobody's. Red: ann1, bob, anyone. Blue: ann2, bob.
  const cast = {};
  const red = unique('red');
  const blue = unique('blue');
  let ann;
  let bob;
  const cleanUp = [];

  before(async () => {
    const t = { after: (action) => cleanUp.push(action) };
    ann = await logIn(site, unique('ann'));
    bob = await logIn(site, unique('bob'));
    cast.ann1 = await connect(t, hub, { headers: ann.headers });
    cast.ann2 = await connect(t, hub, { headers: ann.headers });
    cast.bob = await connect(t, hub, { headers: bob.headers });
    cast.anyone = await connect(t, hub);
    cast.stranger = await connect(t, hub);
    for (const name of ['ann1', 'bob', 'anyone']) await cast[name].connection.invoke('Join', red);
    for (const name of ['ann2', 'bob']) await cast[name].connection.invoke('Join', blue);
  });

  after(async () => {
    for (const action of cleanUp) await action();
  });

  const ids = (...names) => names.map((name) => cast[name].id);
  const ALL = { ann1: 1, ann2: 1, bob: 1, anyone: 1, stranger: 1 };
  const NONE = { ann1: 0, ann2: 0, bob: 0, anyone: 0, stranger: 0 };
  const AUDIENCES = [
    // [what, by whom, hub method, its arguments before the text, how often who hears it]
    ['all', 'ann1', 'ToAll', () => [], ALL],
    ['caller', 'bob', 'ToCaller', () => [], { ...NONE, bob: 1 }],
    ['others', 'ann1', 'ToOthers', () => [], { ...ALL, ann1: 0 }],
    ['all_except', 'ann1', 'ToAllExcept', () => [ids('ann1', 'bob')], { ...ALL, ann1: 0, bob: 0 }],
    ['client', 'stranger', 'ToClient', () => ids('anyone'), { ...NONE, anyone: 1 }],
    ['client that is not there', 'stranger', 'ToClient', () => ['AAAAAAAAAAAAAAAAAAAAAA'], NONE],
    ['clients', 'bob', 'ToClients', () => [[...ids('ann1', 'stranger', 'ann1'), 'unknown']], { ...NONE, ann1: 1, stranger: 1 }],
    ['group', 'stranger', 'ToGroup', () => [red], { ...NONE, ann1: 1, bob: 1, anyone: 1 }],
    ['group in other letters', 'ann1', 'ToGroup', () => [red.toUpperCase()], NONE],
    ['groups', 'stranger', 'ToGroups', () => [[red, blue, 'nobody']], { ...NONE, ann1: 1, ann2: 1, bob: 2, anyone: 1 }],
    ['others_in_group', 'ann1', 'ToOthersInGroup', () => [red], { ...NONE, bob: 1, anyone: 1 }],
    ['others_in_group by an outsider', 'stranger', 'ToOthersInGroup', () => [red], { ...NONE, ann1: 1, bob: 1, anyone: 1 }],
    ['group_except', 'ann1', 'ToGroupExcept', () => [red, cast.bob.id], { ...NONE, ann1: 1, anyone: 1 }],
    ['user', 'stranger', 'ToUser', () => [ann.pk], { ...NONE, ann1: 1, ann2: 1 }],
    ['user who is not there', 'stranger', 'ToUser', () => ['0'], NONE],
    ['users', 'ann1', 'ToUsers', () => [[ann.pk, bob.pk, '0']], { ...NONE, ann1: 1, ann2: 1, bob: 1 }],
  ];

  async function check(expected) {
    const end = unique('end');
    await cast.ann1.connection.invoke('ToAll', end);
    for (const name of Object.keys(cast)) {
      const messages = await cast[name].inbox.before(end);
      if (name in expected) assert.deepEqual(messages, expected[name], name);
    }
  }

  test('every audience of self.clients', async (t) => {
    for (const [what, caller, method, args, heard] of AUDIENCES) {
      await t.test(what, async () => {
        const text = unique(what);
        await cast[caller].connection.invoke(method, ...args(), text);
        await check(Object.fromEntries(Object.entries(heard).map(([name, times]) => [name, Array(times).fill(`${method}: ${text}`)])));
      });
    }
  });

  test('who leaves a group, or joins it twice', async () => {
    const green = unique('green');
    await cast.bob.connection.invoke('Join', green);
    await cast.bob.connection.invoke('Join', green);
    await cast.anyone.connection.invoke('Join', green);
    await cast.anyone.connection.invoke('Leave', green);
    await cast.anyone.connection.invoke('Leave', green);
    await cast.anyone.connection.invoke('Leave', unique('never joined'));
    await cast.ann1.connection.invoke('ToGroup', green, 'once');
    await check({ ann1: [], ann2: [], bob: ['ToGroup: once'], anyone: [], stranger: [] });
  });

  test('a connection can be put into a group by another', async () => {
    const green = unique('green');
    await cast.bob.connection.invoke('AddToGroup', cast.stranger.id, green);
    await cast.bob.connection.invoke('AddToGroup', 'AAAAAAAAAAAAAAAAAAAAAA', green);
    await cast.bob.connection.invoke('ToGroup', green, 'welcome');
    await check({ stranger: ['ToGroup: welcome'], bob: [] });
  });

  test('a sync view and an async view', async () => {
    await request(`${site}/send?group=${red}&text=to+red`);
    await request(`${site}/send?user=${ann.pk}&text=to+ann`);
    await request(`${site}/asend?group=${red}&text=to+red`);
    await check({
      ann1: ['FromView: to red', 'FromView: to ann', 'FromAsyncView: to red'],
      ann2: ['FromView: to ann'],
      bob: ['FromView: to red', 'FromAsyncView: to red'],
      stranger: [],
    });
  });
});

test('groups and names end with the connection', async (t) => {
  const group = unique('group');
  const { connection, inbox } = await connect(t, hub);
  await connection.invoke('Join', group);
  await connection.stop();
  await connection.start();
  await connection.invoke('ToGroup', group, 'to the group');
  await connection.invoke('ToCaller', 'end');
  assert.deepEqual(await inbox.before('end'), []);
});

test('hubs do not hear each other', async (t) => {
  const group = unique('group');
  const one = await connect(t, hub);
  const two = await connect(t, `${site}/peer`);
  await one.connection.invoke('Join', group);
  await two.connection.invoke('Join', group);
  await one.connection.invoke('ToGroup', group, 'for one');
  await one.connection.invoke('ToClient', two.id, 'for nobody');
  await two.connection.invoke('ToGroup', group, 'for two');
  assert.equal(await one.inbox.next(), 'ToGroup: for one');
  assert.equal(await two.inbox.next(), 'ToGroup: for two');
});
