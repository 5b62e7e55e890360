// Pages of other origins. The site's own host may connect, and so may https://app.example.com, which its settings name.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { build, connect, failure, setting } from './helpers.mjs';

const site = setting('PEER_URL');

test('the own host and an allowed origin connect', async (t) => {
  for (const Origin of [site, 'https://app.example.com']) {
    for (const direct of [false, true]) {
      const { connection } = await connect(t, `${site}/peer`, { headers: { Origin }, direct });
      assert.equal(await connection.invoke('Echo', Origin), Origin);
    }
  }
});

test('other origins are refused with 403, whatever the request', async () => {
  const port = new URL(site).port;
  for (const Origin of ['https://evil.example.com', 'https://app.example.com.evil.org', `http://localhost:${port}`, 'http://127.0.0.1:1', 'null']) {
    assert.equal(
      await failure(build(`${site}/peer`, { headers: { Origin } }).connection.start()),
      'Failed to complete negotiation with the server: Error: '
        + 'The origin of this page may not connect. See the setting ALLOWED_ORIGINS.: Status code \'403\'',
    );
    assert.match(await failure(build(`${site}/peer`, { headers: { Origin }, direct: true }).connection.start()), /^WebSocket failed to connect\./);
  }
});

test('a browser hears whether a page of another origin may read the answer', async () => {
  const negotiate = (Origin, method, headers = {}) => fetch(`${site}/peer/negotiate?negotiateVersion=1`, { method, headers: { Origin, ...headers } });
  const preflight = { 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'x-requested-with,x-signalr-user-agent' };
  for (const [method, headers] of [['POST', {}], ['OPTIONS', preflight]]) {
    const allowed = await negotiate('https://app.example.com', method, headers);
    assert.ok(allowed.ok);
    assert.equal(allowed.headers.get('access-control-allow-origin'), 'https://app.example.com');
    assert.equal(allowed.headers.get('access-control-allow-credentials'), 'true');
    const refused = await negotiate('https://evil.example.com', method, headers);
    assert.ok(!refused.ok);
    assert.equal(refused.headers.get('access-control-allow-origin'), null);
  }
});
