// The second connection of the page, with the client of ASP.NET Core: it brings what the server's hub is told.
/* global signalR */
const { HubConnectionBuilder, HubConnectionState, LogLevel } = signalR;
const RETRY_DELAY = 300;

/**
 * Listen to the server, and come back to it whatever happens.
 *
 * @param visit the page's id
 * @param onServer called with the id of the server process, and with null when it does not answer
 * @param onCallback called with each callback of the hub; after the connection was lost, again with those that were told before
 * @param onHistory called when the server has written something into the history
 */
export function openFeed({ visit, onServer, onCallback, onHistory }) {
  const connection = new HubConnectionBuilder()
    .withUrl("/hubs/lifetime")
    .withAutomaticReconnect({ nextRetryDelayInMilliseconds: () => RETRY_DELAY })
    .configureLogging(LogLevel.None) // a server that is away is nothing unusual here
    .build();

  async function watch() {
    const { process, callbacks } = await connection.invoke("watch", visit);
    onServer(process);
    callbacks.forEach(onCallback);
    onHistory();
  }

  // If the server is lost again meanwhile, we are called again.
  const watchAgain = () => watch().catch(() => {});

  connection.on("callback", onCallback);
  connection.on("historyChanged", onHistory);
  connection.onreconnecting(() => onServer(null));
  connection.onreconnected(watchAgain);

  async function start() {
    while (connection.state === HubConnectionState.Disconnected) {
      try {
        await connection.start();
        await watchAgain();
      } catch {
        onServer(null);
        await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY));
      }
    }
  }

  connection.onclose(start);
  return start();
}
