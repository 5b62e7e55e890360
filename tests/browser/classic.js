// One classic connection in a page, and everything it tells, in order. What the tests are to know goes back as JSON.

const STATES = { 0: 'connecting', 1: 'connected', 2: 'reconnecting', 4: 'disconnected' };
// Elsewhere the source of an error is an object, or text that differs from browser to browser.
const SOURCES = ['TimeoutException', 'ServerError'];

const happenings = [];
let waiting = [];

function record(text) {
  happenings.push(text);
  waiting = waiting.filter((isOver) => !isOver());
}

// Resolves once something, or anything at all, has happened so many times.
function happened(text, times) {
  return new Promise((resolve) => {
    const isOver = () => {
      const isEnough = happenings.filter((one) => text === null || one === text).length >= times;
      if (isEnough) resolve();
      return isEnough;
    };
    if (!isOver()) waiting.push(isOver);
  });
}

function describe(error) {
  const message = error.message.replace(/inactive since .* and it/, 'inactive since * and it');
  return SOURCES.includes(error.source) ? `${message} (${error.source})` : message;
}

const connection = $.hubConnection('/signalr', { useDefaultPath: false });
const hub = connection.createHubProxy('peer');
hub.on('Message', (kind, text) => record(`message ${text}`));
connection.stateChanged(({ oldState, newState }) => record(`${STATES[oldState]} -> ${STATES[newState]}`));
connection.starting(() => record('starting'));
connection.connectionSlow(() => record('connectionSlow'));
connection.reconnecting(() => record('reconnecting'));
connection.reconnected(() => record('reconnected'));
connection.disconnected(() => record('disconnected'));
connection.error((error) => record(`error ${describe(error)}`));

// `fail` and `done` are called at once, where a promise's handlers would be called later.
function begin(options) {
  if (options.hasEventSource === false) delete window.EventSource;
  connection
    .start(options)
    .done(() => record('started'))
    .fail((error) => record(`failed ${error.message}`));
}

const call = (...args) => hub.invoke(...args);

// A call in the middle of other things: what becomes of it is one more happening.
function callAside(...args) {
  call(...args)
    .done((result) => record(`result ${JSON.stringify(result)}`))
    .fail((error) => record(`rejected ${error.message}`));
}
