// The room the visitor is in: what the hub says about it, and what the visitor says to the hub.
import * as view from "./view.js";

const TYPING_LASTS = 3500;
const ROOMS_DELAY = 150;

export class Room {
  isIn = false;

  constructor(connection, name) {
    this.connection = connection;
    this.name = name;
    this.people = new Map(); // connection id -> person
    this.gone = new Set(); // connection ids that left while we were entering
    this.writers = new Map(); // connection id -> {name, timer}

    connection.on("messageReceived", (name, text, sentAt, id) => this.received(name, text, sentAt, id));
    connection.on("personJoined", (person) => this.joined(person));
    connection.on("personLeft", (person) => this.left(person));
    connection.on("personTyping", (person) => this.isTyping(person));
    connection.on("roomsChanged", () => this.askForRooms());
    connection.onreconnecting(() => this.lost());
    connection.onclose(() => this.lost());
  }

  // What the visitor does

  async join(nickname) {
    // What is heard until the answer comes is newer than the answer.
    this.people.clear();
    this.gone.clear();
    const welcome = await this.connection.invoke("joinRoom", this.name, nickname);
    const others = welcome.people.filter(({ id }) => !this.gone.has(id) && !this.people.has(id));
    this.people = new Map([...others, ...this.people.values()].map((person) => [person.id, person]));
    this.isIn = true;
    view.showRoom(this.name);
    view.showTransport(welcome.transport);
    this.showPeople();
    this.askForRooms();
  }

  async moveTo(name, nickname) {
    const before = this.name;
    this.name = name;
    if (!this.isIn) return view.showRoom(name); // it is joined when there is a connection
    await this.connection.invoke("leaveRoom", before);
    this.isIn = false;
    this.forgetWriters();
    view.clearLines();
    try {
      await this.join(nickname);
    } catch (error) {
      this.name = before;
      await this.join(nickname);
      throw error;
    }
  }

  async say(text) {
    if (!this.isIn) throw new Error("There is no connection, so this was not sent.");
    await this.connection.invoke("sendMessage", this.name, text);
  }

  typing() {
    this.connection.send("typing", this.name).catch(() => {}); // a hint that may be lost
  }

  // What the hub says

  lost() {
    this.isIn = false;
    this.forgetWriters();
  }

  received(name, text, sentAt = new Date().toISOString(), id = null) {
    this.stopTyping(id);
    const person = this.people.get(id);
    view.addMessage({ name, text, sentAt, id, isMine: id === this.connection.connectionId, isUser: Boolean(person?.is_user) });
  }

  joined(person) {
    const before = this.people.get(person.id);
    this.gone.delete(person.id);
    this.people.set(person.id, person);
    this.showPeople();
    if (!before) view.addNote(`${person.name} joined.`);
    else if (before.name !== person.name) view.addNote(`${before.name} is now ${person.name}.`);
  }

  left(person) {
    this.gone.add(person.id);
    this.stopTyping(person.id);
    if (!this.people.delete(person.id)) return;
    this.showPeople();
    view.addNote(`${person.name} left.`);
  }

  isTyping({ id, name }) {
    clearTimeout(this.writers.get(id)?.timer);
    this.writers.set(id, { name, timer: setTimeout(() => this.stopTyping(id), TYPING_LASTS) });
    view.showTyping([...this.writers.values()].map((writer) => writer.name));
  }

  stopTyping(id) {
    clearTimeout(this.writers.get(id)?.timer);
    if (this.writers.delete(id)) view.showTyping([...this.writers.values()].map((writer) => writer.name));
  }

  forgetWriters() {
    for (const id of [...this.writers.keys()]) this.stopTyping(id);
  }

  showPeople() {
    view.showPeople([...this.people.values()], this.connection.connectionId);
  }

  /** Changes come in bursts; one question after them is enough. */
  askForRooms() {
    clearTimeout(this.roomsTimer);
    this.roomsTimer = setTimeout(() => {
      if (!this.isIn) return;
      // If the connection ends before the answer, the next one asks again.
      this.connection.invoke("rooms").then((rooms) => view.showRooms(rooms, this.name), () => {});
    }, ROOMS_DELAY);
  }
}
