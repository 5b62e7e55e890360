// Access tokens of simplejwt, on every transport. /secure asks for one on each request, and ends a connection when its token runs out.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { failure, logLine, request, setting, unique, within } from '../helpers.mjs';
import { TRANSPORT, build, call, connect } from './way.mjs';

const site = setting('PEER_URL');
const isDirect = TRANSPORT === 'direct';
const makeToken = async (user, seconds = 60) => (await request(`${site}/token?user=${user}&seconds=${seconds}`)).text();

// The end of a start that is refused. Without negotiation the client learns no more of a web socket than that it failed.
async function refusal(token) {
  const { connection } = build(`${site}/secure`, token === undefined ? {} : { token: () => token });
  const text = await failure(connection.start());
  return isDirect ? text.split('.')[0] : text;
}
const UNAUTHORIZED = isDirect
  ? 'WebSocket failed to connect'
  : 'Failed to complete negotiation with the server: Error: Unauthorized: Status code \'401\'';

describe('access tokens', { concurrency: true }, () => {
  test('a token is a login', async (t) => {
    const user = unique('ann');
    const token = await makeToken(user);
    const { connection, inbox } = await connect(t, `${site}/secure`, { token: () => token });
    assert.equal(await call(connection, 'GetUserName'), user);
    await call(connection, 'ToUser', user, 'to me');
    assert.equal(await inbox.next(), 'ToUser: to me');
  });

  test('a factory may be asynchronous', async (t) => {
    const user = unique('ann');
    const { connection } = await connect(t, `${site}/secure`, { token: () => makeToken(user) });
    assert.equal(await call(connection, 'GetUserName'), user);
  });

  test('a token is good where none is asked for', async (t) => {
    const user = unique('ann');
    const token = await makeToken(user);
    const { connection } = await connect(t, `${site}/transports`, { token: () => token });
    assert.equal(await call(connection, 'ForUsers', 'x'), 'x');
    const anyone = await connect(t, `${site}/transports`);
    assert.equal(await call(anyone.connection, 'GetUserName'), null);
    assert.equal(await failure(anyone.connection.invoke('ForUsers', 'x')), 'Failed to invoke \'ForUsers\' because user is unauthorized');
  });

  test('no token, a bad one and an expired one are refused', async () => {
    assert.equal(await refusal(), UNAUTHORIZED);
    assert.equal(await refusal('no.good.token'), UNAUTHORIZED);
    assert.equal(await refusal(await makeToken(unique('ann'), 0)), UNAUTHORIZED);
    const [head, body] = (await makeToken(unique('ann'))).split('.');
    assert.equal(await refusal(`${head}.${body}.${'A'.repeat(43)}`), UNAUTHORIZED);
  });

  test('a connection ends with its token and comes back with the next one', async (t) => {
    const bob = unique('bob');
    let next = [unique('ann'), 3];
    const { connection, id, states } = await connect(t, `${site}/secure`, {
      token: () => makeToken(...next),
      delays: [0, 100, 100],
      configure: (c) => c.onreconnecting(() => { next = [bob, 60]; }),
    });
    assert.deepEqual(await states.next(), { state: 'reconnecting', error: undefined });
    assert.equal((await states.next()).state, 'reconnected');
    assert.notEqual(await call(connection, 'GetConnectionId'), id);
    assert.equal(await call(connection, 'GetUserName'), bob);
    assert.equal(await logLine(site, (line) => line.startsWith(`disconnected ${id} `)), `disconnected ${id} -`);
  });

  test('a connection without automatic reconnect ends with its token, without an error', async (t) => {
    const token = await makeToken(unique('ann'), 3);
    const { states } = await connect(t, `${site}/secure`, { token: () => token });
    assert.deepEqual(await states.next(), { state: 'closed', error: undefined });
  });

  test('a client whose next token is no good gives up', async (t) => {
    const token = await makeToken(unique('ann'), 3);
    const { states } = await connect(t, `${site}/secure`, { token: () => token, delays: [0, 100] });
    assert.deepEqual(await states.next(), { state: 'reconnecting', error: undefined });
    assert.deepEqual(await states.next(), { state: 'closed', error: undefined });
  });

  test('every request is refused as .NET refuses it', async () => {
    const expired = await makeToken(unique('ann'), 0);
    for (const [path, method] of [['/negotiate', 'POST'], ['', 'GET'], ['', 'POST'], ['', 'DELETE'], ['?id=nobody', 'GET'], ['?id=nobody', 'POST']]) {
      for (const [headers, challenge] of [
        [{}, /^Bearer$/],
        [{ Authorization: 'Bearer no.good.token' }, /^Bearer error="invalid_token"$/],
        [{ Authorization: `bearer ${expired}` }, /^Bearer error="invalid_token", error_description="The token expired at '\d\d\/\d\d\/\d{4} \d\d:\d\d:\d\d'"$/],
      ]) {
        const response = await within(fetch(`${site}/secure${path}`, { method, headers }), 'an answer');
        assert.equal(response.status, 401);
        assert.match(response.headers.get('www-authenticate'), challenge);
        assert.equal(response.headers.get('content-type'), null);
        assert.equal(response.headers.get('content-length'), '0');
        assert.equal(await response.text(), '');
      }
    }
  });
});
