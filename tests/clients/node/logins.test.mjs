// Django's session logins, and hubs and methods that ask for one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { build, connect, failure, logIn, setting, unique } from './helpers.mjs';

const site = setting('PEER_URL');
const REFUSED_WEB_SOCKET = /^WebSocket failed to connect\. The connection could not be found on the server, /;

test('a session cookie is a login, with and without negotiation', async (t) => {
  const name = unique('ann');
  const { headers, pk } = await logIn(site, name);
  for (const direct of [false, true]) {
    const { connection } = await connect(t, `${site}/staff`, { headers, direct });
    assert.equal(await connection.invoke('GetUserName'), pk);
    assert.equal(await connection.invoke('GetLogin'), name);
  }
});

test('a hub that asks for a login answers 401 without one', async () => {
  const expected = 'Failed to complete negotiation with the server: Error: Unauthorized: Status code \'401\'';
  assert.equal(await failure(build(`${site}/staff`).connection.start()), expected);
  const forged = { Cookie: 'sessionid=abcdefghijklmnopqrstuvwxyz012345' };
  assert.equal(await failure(build(`${site}/staff`, { headers: forged }).connection.start()), expected);
  assert.match(await failure(build(`${site}/staff`, { direct: true }).connection.start()), REFUSED_WEB_SOCKET);
});

test('a method that asks for more is refused to those without', async (t) => {
  const ann = await connect(t, `${site}/staff`, await logIn(site, unique('ann')));
  const eve = await connect(t, `${site}/staff`, await logIn(site, unique('eve'), { staff: true }));
  const text = 'Failed to invoke \'ForStaff\' because user is unauthorized';
  assert.equal(await failure(ann.connection.invoke('forstaff', 'x')), text);
  await ann.connection.send('ForStaff', 'x');
  assert.equal(await ann.connection.invoke('Echo', 'still here'), 'still here');
  assert.equal(await eve.connection.invoke('ForStaff', 'x'), 'x');
});

test('a method may ask for a login where the hub does not', async (t) => {
  const anyone = await connect(t, `${site}/everything`);
  assert.equal(await failure(anyone.connection.invoke('ForUsers', 'x')), 'Failed to invoke \'ForUsers\' because user is unauthorized');
  const ann = await connect(t, `${site}/everything`, await logIn(site, unique('ann')));
  assert.equal(await ann.connection.invoke('ForUsers', 'x'), 'x');
});
