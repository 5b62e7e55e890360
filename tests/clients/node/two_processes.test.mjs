// Two server processes of one site behind one Redis.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect, logIn, request, runPython, setting, unique } from './helpers.mjs';

const [left, right] = setting('PEER_URLS').split(' ');

describe('two server processes', () => {
  // Ann is on both sides; Bob is on the right. Red: ann1 and bob.
  const cast = {};
  const red = unique('red');
  let ann;
  let bob;
  const cleanUp = [];

  before(async () => {
    const t = { after: (action) => cleanUp.push(action) };
    ann = await logIn(left, unique('ann'));
    bob = await logIn(right, unique('bob'));
    cast.ann1 = await connect(t, `${left}/everything`, { headers: ann.headers });
    cast.ann2 = await connect(t, `${right}/everything`, { headers: ann.headers });
    cast.bob = await connect(t, `${right}/everything`, { headers: bob.headers });
    for (const name of ['ann1', 'bob']) await cast[name].connection.invoke('Join', red);
  });

  after(async () => {
    for (const action of cleanUp) await action();
  });

  async function check(caller, expected) {
    const end = unique('end');
    await cast[caller].connection.invoke('ToAll', end);
    for (const name of Object.keys(cast)) {
      const messages = await cast[name].inbox.before(end);
      if (name in expected) assert.deepEqual(messages, expected[name], name);
    }
  }

  test('every audience reaches across', async (t) => {
    const ids = (...names) => names.map((name) => cast[name].id);
    for (const [method, args, heard] of [
      ['ToAll', [], ['ann1', 'ann2', 'bob']],
      ['ToCaller', [], ['ann1']],
      ['ToOthers', [], ['ann2', 'bob']],
      ['ToAllExcept', [ids('ann1', 'bob')], ['ann2']],
      ['ToClient', ids('bob'), ['bob']],
      ['ToClient', ids('ann1'), ['ann1']],
      ['ToClients', [ids('ann1', 'ann2')], ['ann1', 'ann2']],
      ['ToGroup', [red], ['ann1', 'bob']],
      ['ToGroups', [[red, unique('nobody')]], ['ann1', 'bob']],
      ['ToOthersInGroup', [red], ['bob']],
      ['ToGroupExcept', [red, cast.bob.id], ['ann1']],
      ['ToUser', [ann.pk], ['ann1', 'ann2']],
      ['ToUser', [bob.pk], ['bob']],
      ['ToUsers', [[ann.pk, bob.pk]], ['ann1', 'ann2', 'bob']],
    ]) {
      await t.test(`${method} ${heard}`, async () => {
        await cast.ann1.connection.invoke(method, ...args, 'hello');
        const expected = (name) => (heard.includes(name) ? [`${method}: hello`] : []);
        await check('ann1', { ann1: expected('ann1'), ann2: expected('ann2'), bob: expected('bob') });
      });
    }
  });

  test('a connection of one process joins a group through the other', async () => {
    const green = unique('green');
    await cast.ann1.connection.invoke('AddToGroup', cast.bob.id, green);
    await cast.ann1.connection.invoke('ToGroup', green, 'welcome');
    await check('ann1', { ann1: [], ann2: [], bob: ['ToGroup: welcome'] });
  });

  test('who has left a group hears nothing from the other side', async () => {
    const green = unique('green');
    await cast.bob.connection.invoke('Join', green);
    await cast.ann1.connection.invoke('ToGroup', green, 'one');
    await check('ann1', { bob: ['ToGroup: one'] });
    await cast.bob.connection.invoke('Leave', green);
    await cast.ann1.connection.invoke('ToGroup', green, 'two');
    await check('ann1', { bob: [] });
  });

  test('200 messages cross in order', async () => {
    const texts = Array.from({ length: 200 }, (_, i) => `ToClient: ${i}`);
    for (let i = 0; i < 200; i += 1) cast.ann1.connection.send('ToClient', cast.bob.id, String(i));
    await check('ann1', { bob: texts });
  });

  test('a view of one process reaches clients of both', async () => {
    await request(`${left}/send?group=${red}&text=from+the+left`);
    for (const name of ['ann1', 'bob']) assert.equal(await cast[name].inbox.next(), 'FromView: from the left');
    await request(`${right}/asend?group=${red}&text=from+the+right`);
    for (const name of ['ann1', 'bob']) assert.equal(await cast[name].inbox.next(), 'FromAsyncView: from the right');
  });

  test('a process without a server sends through the hub context', async () => {
    await runPython(`
import asyncio
import django
django.setup()
from django.test import Client
from signalr_channels import get_hub_context
from tests.peer_site.extra_hubs import EverythingHub

context = get_hub_context(EverythingHub)
context.clients.group("${red}").send("Message", "Script", "sync")
asyncio.run(context.clients.group("${red}").asend("Message", "Script", "async"))
context.clients.user("${ann.pk}").send("Message", "Script", "to the user")
context.clients.client("${cast.bob.id}").send("Message", "Script", "to the client")
context.groups.add("${cast.ann2.id}", "${red}")
context.clients.group_except("${red}", ["${cast.ann1.id}"]).send("Message", "Script", "to the larger group")
context.groups.remove("${cast.ann2.id}", "${red}")
assert Client().get("/send", {"group": "${red}", "text": "a WSGI site"}).status_code == 200
`);
    const heard = async (name) => (await cast[name].inbox.before('a WSGI site')).sort();
    assert.deepEqual(await heard('ann1'), ['Script: async', 'Script: sync', 'Script: to the user']);
    assert.deepEqual(await heard('bob'), ['Script: async', 'Script: sync', 'Script: to the client', 'Script: to the larger group']);
    assert.equal(await cast.ann2.inbox.next(), 'Script: to the user');
    assert.equal(await cast.ann2.inbox.next(), 'Script: to the larger group');
    await check('ann1', { ann1: [], ann2: [], bob: [] });
  });
});
