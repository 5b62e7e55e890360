// Clients of both generations at one hub, which the site serves at /peer for core clients and as `peer` at /signalr for classic ones.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as classic from './classic_helpers.mjs';
import { failure, logIn, setting, unique } from './helpers.mjs';
import * as core from './transports/way.mjs';

const site = setting('PEER_URL');
const CORE_WAYS = ['webSockets json', 'serverSentEvents json', 'longPolling messagepack'];

describe('classic and core clients', () => {
  const cleanUp = [];
  const t = { after: (action) => cleanUp.push(action) };
  let user; // of the first of each generation
  let cast;

  before(async () => {
    user = await logIn(site, unique('ann'));
    const classics = classic.TRANSPORTS.map((transport, i) =>
      classic.connect(t, `${site}/signalr`, { transport, user: i === 0 ? user.pk : undefined }),
    );
    const cores = CORE_WAYS.map((way, i) => core.connect(t, `${site}/peer`, { way, headers: i === 0 ? user.headers : {} }));
    const asClassic = ({ peer, ...rest }) => ({ ...rest, call: (...args) => classic.call(peer, ...args) });
    const asCore = ({ connection, ...rest }) => ({ ...rest, call: (...args) => core.call(connection, ...args) });
    cast = [...(await Promise.all(classics)).map(asClassic), ...(await Promise.all(cores)).map(asCore)];
  });

  after(async () => {
    for (const action of cleanUp) await action();
    classic.closePages();
  });

  // One of them calls a method of which the first argument after `args` is the text, and exactly `heard` hear it.
  async function check(caller, method, args, heard) {
    const [text, end] = [unique('text'), unique('end')];
    await caller.call(method, ...args, text);
    for (const { id } of cast) await caller.call('ToClient', id, end);
    for (const [i, { inbox }] of cast.entries()) {
      const own = (await inbox.before(end)).filter((message) => message.endsWith(text));
      assert.deepEqual(own, heard.includes(cast[i]) ? [`${method}: ${text}`] : [], `${method} to number ${i}`);
    }
  }

  const others = (...those) => cast.filter((one) => !those.includes(one));

  test('a group of both hears each of its members', async () => {
    const group = unique('group');
    for (const one of cast) await one.call('Join', group);
    for (const one of cast) await check(one, 'ToGroup', [group], cast);
    for (const one of [cast[0], cast[3]]) {
      await check(one, 'ToOthersInGroup', [group], others(one));
      for (const excluded of [cast[1], cast[4]]) await check(one, 'ToGroupExcept', [group, excluded.id], others(excluded));
    }
  });

  test('who leaves a group hears no more of it, whatever the others speak', async () => {
    const group = unique('group');
    for (const one of cast) await one.call('Join', group);
    for (const one of [cast[2], cast[5]]) {
      await one.call('Leave', group);
      await check(cast[0], 'ToGroup', [group], others(cast[2], ...(one === cast[5] ? [one] : [])));
    }
  });

  test('one client reaches another', async () => {
    for (const [from, to] of [[0, 3], [3, 0], [2, 5], [5, 2]]) await check(cast[from], 'ToClient', [cast[to].id], [cast[to]]);
  });

  test('a user is one, however connected', async () => {
    for (const caller of [cast[1], cast[4]]) await check(caller, 'ToUser', [user.pk], [cast[0], cast[3]]);
  });

  test('what a core client knows nothing of goes nowhere', async () => {
    const client = cast[3];
    assert.equal(await client.call('Progress', 3), 3);
    assert.deepEqual([await client.call('CountState'), await client.call('CountState')], [1, 1]);
    const text = await failure(client.call('FailHubData', 'no'));
    assert.equal(text, "An unexpected error occurred invoking 'FailHubData' on the server. HubException: no");
  });

  test('each generation is told in its own words what a client cannot do', async () => {
    assert.equal(await failure(cast[0].call('Nope')), "There was an error invoking Hub method 'peer.Nope'.");
    assert.match(await failure(cast[3].call('Nope')), /^Failed to invoke 'Nope' due to an error on the server\./);
    // Streams are core's alone, and so are client results.
    assert.equal(await failure(cast[0].call('Count', 3, 0)), "There was an error invoking Hub method 'peer.Count'.");
    for (const caller of [cast[0], cast[3]]) await failure(caller.call('AskClient', cast[1].id, 1));
    for (const caller of [cast[0], cast[3]]) assert.equal(await caller.call('Echo', 'still here'), 'still here');
  });
});
