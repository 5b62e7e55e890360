// A name for visitors without a login.
import { $ } from "./view.js";

const ADJECTIVES = ["Quiet", "Amber", "Brisk", "Curious", "Gentle", "Merry", "Nimble", "Patient", "Silver", "Sunny", "Velvet", "Wandering"];
const NOUNS = ["Heron", "Otter", "Maple", "Fox", "Comet", "Willow", "Finch", "Lynx", "Badger", "Sparrow", "Juniper", "Marten"];

function suggestion() {
  const pick = (words) => words[Math.floor(Math.random() * words.length)];
  return `${pick(ADJECTIVES)} ${pick(NOUNS)}`;
}

/** Ask until there is a name. With a name already, the question can be left with Escape. */
export function nicknameDialog(current, problem) {
  const dialog = $("nickname-dialog");
  const input = $("nickname");
  input.value = current || suggestion();
  $("nickname-error").textContent = problem;
  $("dice").onclick = () => {
    input.value = suggestion();
    input.select();
  };
  dialog.oncancel = (event) => {
    if (!current) event.preventDefault();
  };
  dialog.showModal();
  input.select();
  return new Promise((resolve) => {
    const close = (name) => {
      dialog.onclose = null;
      dialog.close();
      resolve(name);
    };
    $("nickname-form").onsubmit = (event) => {
      event.preventDefault();
      const name = input.value.trim().replace(/\s+/g, " ");
      if (name) close(name);
    };
    dialog.onclose = () => (current ? resolve(current) : dialog.showModal());
  });
}
