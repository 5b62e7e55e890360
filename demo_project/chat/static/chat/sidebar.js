// Rooms and people beside the messages, and the drawer they are in on a phone.

import { icon } from "./log.js";
import { avatar } from "./names.js";

export function roomLink(room) {
  return room === "lobby" ? "/" : `/?room=${encodeURIComponent(room)}`;
}

export function showRooms(list, rooms, current) {
  const items = rooms.map(({ name, people }) => {
    const link = document.createElement("a");
    link.href = roomLink(name);
    link.dataset.room = name;
    if (name === current) link.setAttribute("aria-current", "page");
    const label = document.createElement("span");
    label.className = "name";
    label.textContent = name;
    const count = document.createElement("span");
    count.className = "count";
    count.textContent = people;
    count.setAttribute("aria-label", people === 1 ? "1 person" : `${people} people`);
    count.setAttribute("role", "img");
    link.append(label, count);
    const item = document.createElement("li");
    item.append(link);
    return item;
  });
  keepFocus(list, items);
}

/** Replace the items; whoever had the focus on a link keeps it there. */
function keepFocus(list, items) {
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.room : undefined;
  list.replaceChildren(...items);
  if (focused !== undefined) items.map((item) => item.firstElementChild).find((link) => link.dataset.room === focused)?.focus();
}

export function showPeople(list, people, myId) {
  list.replaceChildren(
    ...people.map(({ id, name, isUser }) => {
      const item = document.createElement("li");
      const who = document.createElement("span");
      who.className = "who";
      who.append(name);
      if (isUser) {
        const check = icon("check", "icon check");
        check.removeAttribute("aria-hidden");
        check.setAttribute("role", "img");
        check.setAttribute("aria-label", "logged in");
        who.append(check);
      }
      if (id === myId) {
        const you = document.createElement("small");
        you.textContent = "you";
        who.append(you);
      }
      item.append(avatar(name), who);
      return item;
    }),
  );
}

/** On a phone the sidebar is a drawer: out of reach while closed, and closed by Escape, its button, or a tap beside it. */
export function setUpDrawer(drawer, veil, openButton, closeButton) {
  const narrow = matchMedia("(max-width: 48rem)");
  const main = document.querySelector("main");

  function show(isOpen, isByUser = true) {
    drawer.classList.toggle("open", isOpen);
    openButton.setAttribute("aria-expanded", String(isOpen));
    drawer.inert = narrow.matches && !isOpen;
    main.inert = narrow.matches && isOpen;
    if (narrow.matches && isByUser) (isOpen ? closeButton : openButton).focus();
  }

  openButton.addEventListener("click", () => show(true));
  closeButton.addEventListener("click", () => show(false));
  veil.addEventListener("click", () => show(false));
  narrow.addEventListener("change", () => show(false, false));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && drawer.classList.contains("open")) show(false);
  });
  show(false, false);
  return { close: () => drawer.classList.contains("open") && show(false) };
}
