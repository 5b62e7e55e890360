// What the tests of the transports do in a page. Everything they are to know goes back as JSON.

const TRANSPORTS = {
  webSockets: signalR.HttpTransportType.WebSockets,
  direct: signalR.HttpTransportType.WebSockets, // without negotiation
  serverSentEvents: signalR.HttpTransportType.ServerSentEvents,
  longPolling: signalR.HttpTransportType.LongPolling,
};

// The clients of this page, by names the tests give them.
const clients = {};

async function connect(name, hub, way, { token, stateful = false, retries = false } = {}) {
  const [transport, protocol] = way.split(' ');
  const options = { transport: TRANSPORTS[transport], skipNegotiation: transport === 'direct' };
  if (token !== undefined) options.accessTokenFactory = () => token;
  const builder = new signalR.HubConnectionBuilder().withUrl(hub, options).configureLogging(signalR.LogLevel.None);
  if (protocol === 'messagepack') builder.withHubProtocol(new signalR.protocols.msgpack.MessagePackHubProtocol());
  if (retries) builder.withAutomaticReconnect(Array(100).fill(100));
  if (stateful) builder.withStatefulReconnect();
  const connection = builder.build();
  const client = { connection, messages: [], changes: [] };
  connection.on('Message', (kind, text) => client.messages.push(`${kind}: ${text}`));
  connection.on('Ask', (n) => n + 1);
  connection.onreconnecting(() => client.changes.push('reconnecting'));
  connection.onreconnected(() => client.changes.push('reconnected'));
  connection.onclose(() => client.changes.push('closed'));
  clients[name] = client;
  await connection.start();
  client.id = await connection.invoke('GetConnectionId');
  return client.id;
}

const call = (name, ...args) => clients[name].connection.invoke(...args);

function collect(stream, onItem = () => {}) {
  const items = [];
  return new Promise((resolve) => {
    stream.subscribe({
      next: (item) => {
        items.push(item);
        onItem(items.length);
      },
      error: (error) => resolve({ items, end: error.message }),
      complete: () => resolve({ items, end: 'complete' }),
    });
  });
}

const failure = (promise) => promise.then(() => 'it should have failed', (error) => error.message);

// One of everything a client can do.
async function exercise(name, isBinary) {
  const { connection, id } = clients[name];
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  const record = await connection.invoke('EchoRecord', isBinary ? { Bytes: bytes, When: new Date(0), Text: 'é😀' } : { Bytes: 'AAECgP8=', Text: 'é😀' });
  const numbers = new signalR.Subject();
  const sum = connection.invoke('Sum', numbers);
  const texts = new signalR.Subject();
  const relayed = collect(connection.stream('Relay', texts));
  for (const n of [1, 2, 3]) {
    numbers.next(n);
    texts.next(`é${n}`);
  }
  numbers.complete();
  texts.complete();
  await connection.send('ToCaller', 'sent');
  return {
    results: [await connection.invoke('Add', 2, 3), await connection.invoke('Echo', 'é😀'), await connection.invoke('Nothing')],
    large: (await connection.invoke('Big', 2 ** 20)).length,
    sameBytes: isBinary ? record.Bytes instanceof Uint8Array && record.Bytes.every((byte, i) => byte === i) : record.Bytes === 'AAECgP8=',
    sameText: record.Text === 'é😀',
    sameMoment: isBinary ? record.When.getTime() === 0 : record.When === '0001-01-01T00:00:00Z',
    error: await failure(connection.invoke('FailHub', 'Sorry, Zoë.')),
    stream: await collect(connection.stream('Count', 5, 0)),
    failing: await collect(connection.stream('CountFail', 2)),
    sum: await sum,
    relayed: await relayed,
    asked: await connection.invoke('AskClient', id, 41),
  };
}

// A conversation in both directions. `progress` is for the tests to see when to disturb it.
async function talk(name, length) {
  const client = clients[name];
  const numbers = new signalR.Subject();
  const sum = client.connection.invoke('Sum', numbers);
  client.progress = 0;
  const { items, end } = await collect(client.connection.stream('Count', length, 5), (count) => {
    client.progress = count;
    client.connection.send('ToCaller', String(count));
    numbers.next(count);
  });
  numbers.complete();
  return { items, end, sum: await sum };
}
