// The profile: the name one goes by, and the dialog that asks for it.

import { cleanName } from './names.js';
import { asText, store } from './storage.js';

const MAX_NAME = 32;
const MOODS = ['Quiet', 'Amber', 'Brisk', 'Mellow', 'Lucky', 'Gentle', 'Bright', 'Sunny', 'Wandering', 'Curious'];
const ANIMALS = ['Otter', 'Heron', 'Lynx', 'Wren', 'Badger', 'Marten', 'Swift', 'Hare', 'Plover', 'Tern'];

const anyOf = (list) => list[Math.floor(Math.random() * list.length)];

export class Profile {
  name = cleanName(store.local.get('name', asText, ''));

  #parts;
  #answered;

  constructor(parts) {
    this.#parts = parts;
    parts.form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#save();
    });
    parts.cancel.addEventListener('click', () => parts.dialog.close());
    // There is no page behind the first question. Browsers let a second Escape
    // through whatever a cancel handler says, so the question is asked again.
    parts.dialog.addEventListener('close', () => { if (!this.name) this.ask(this.#answered); });
  }

  // ask opens the dialog; answered is called with a new name, not at a cancel.
  ask(answered) {
    const { dialog, title, text, input, cancel, save, hint } = this.#parts;
    const first = !this.name;
    this.#answered = answered;
    title.textContent = first ? 'Welcome to Hubbub' : 'Change your name';
    text.textContent = first
      ? 'No account needed. Pick the name others will see beside your messages.'
      : 'What you have already written keeps the name you had then.';
    save.textContent = first ? 'Start chatting' : 'Save';
    cancel.hidden = first;
    hint.textContent = '';
    input.value = this.name || `${anyOf(MOODS)} ${anyOf(ANIMALS)}`;
    dialog.showModal();
    input.select();
  }

  #save() {
    const { dialog, input, hint } = this.#parts;
    const name = cleanName(input.value);
    if (!name || [...name].length > MAX_NAME) {
      hint.textContent = name ? `At most ${MAX_NAME} characters, please.` : 'A name, please.';
      input.focus();
      return;
    }
    dialog.close();
    if (name === this.name) return;
    this.name = name;
    store.local.set('name', name);
    this.#answered(name);
  }
}
