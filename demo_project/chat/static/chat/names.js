// Names: suggestions, initials, colours.

const FIRST = ["Amber", "Brisk", "Calm", "Clever", "Curious", "Gentle", "Golden", "Lucky", "Merry", "Mellow", "Nimble", "Quiet", "Sunny", "Witty"];
const SECOND = ["Badger", "Beaver", "Falcon", "Finch", "Fox", "Hare", "Heron", "Ibex", "Lynx", "Marten", "Otter", "Owl", "Raven", "Seal", "Wren"];
const TONES = 8;

const pick = (list) => list[Math.floor(Math.random() * list.length)];

export function suggestName() {
  return `${pick(FIRST)} ${pick(SECOND)}`;
}

/** An element with the initials of a name, in the colour of that name. */
export function avatar(name) {
  const element = document.createElement("span");
  element.setAttribute("aria-hidden", "true");
  paintAvatar(element, name);
  return element;
}

export function paintAvatar(element, name) {
  const words = name.trim().split(/[\s._-]+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)].map((word) => [...word][0]) : [...(words[0] ?? "?")].slice(0, 2);
  let hash = 0;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  element.className = `avatar tone-${hash % TONES}`;
  element.textContent = letters.join("").toUpperCase();
}
