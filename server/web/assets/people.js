// The people: who is in the room on the screen. Asked every ten seconds and after
// someone came or went. In a large room only the number is asked for: the list
// would be megabytes, and nobody reads ten thousand names.

import { authorOf } from './message.js';
import { hueOf, paintAvatar } from './avatar.js';

const EVERY_MS = 10_000;
const SOON_MS = 400; // joins come in bursts; one question answers them all
const LISTED = 200;
const STACKED = 3;

export class People {
  #parts;
  #room;
  #timer;
  #due = Infinity; // when the timer fires
  #asked = 0;

  constructor(parts) {
    this.#parts = parts;
    document.addEventListener('visibilitychange', () => this.soon());
  }

  follow(room) {
    this.#room = room;
    this.#clear();
    this.soon();
  }

  soon() { this.#refreshIn(SOON_MS); }

  // An earlier appointment stands: a room where someone comes every moment would
  // otherwise put its list off for ever.
  #refreshIn(delay) {
    const due = Date.now() + delay;
    if (due >= this.#due) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => this.#refresh(), delay);
  }

  async #refresh() {
    const room = this.#room;
    const turn = ++this.#asked;
    this.#due = Infinity;
    this.#refreshIn(EVERY_MS);
    if (!room?.isLive || document.hidden) return;
    try {
      const { numClients, numUsers } = await room.sub.presenceStats();
      const clients = numClients <= LISTED ? (await room.sub.presence()).clients : undefined;
      if (turn === this.#asked && room === this.#room) this.#show(clients, numUsers || numClients);
    } catch (error) {
      // Not offered in this room, or the connection went: a stale list would be a lie in the first case only.
      if (error?.code >= 100 && turn === this.#asked) this.#clear();
    }
  }

  #show(clients, count) {
    const people = clients ? distinct(clients) : [];
    const total = clients ? people.length : count;
    const { button, count: label, heading, stack, list, more } = this.#parts;
    button.hidden = total === 0;
    label.textContent = heading.textContent = total.toLocaleString();
    stack.replaceChildren(...people.slice(0, STACKED).map(({ name }) => avatar(name, 1)));
    list.replaceChildren(...people.map((person) => row(person)));
    more.hidden = Boolean(clients);
    more.textContent = clients ? '' : `${total.toLocaleString()} people are here: too many to list.`;
  }

  #clear() {
    const { button, heading, list, stack, more } = this.#parts;
    button.hidden = true;
    heading.textContent = '';
    more.hidden = true;
    list.replaceChildren();
    stack.replaceChildren();
  }
}

// One person may be connected several times: by telephone, in three tabs.
function distinct(clients) {
  const people = new Map();
  for (const info of Object.values(clients)) {
    const { id, name } = authorOf(info);
    const person = people.get(id) ?? { name, connections: 0 };
    person.connections += 1;
    people.set(id, person);
  }
  return [...people.values()].sort((a, b) => a.name.localeCompare(b.name));
}

function avatar(name, letters = 2) {
  const element = document.createElement('span');
  element.className = 'avatar';
  element.setAttribute('aria-hidden', 'true');
  paintAvatar(element, name, letters);
  return element;
}

function row({ name, connections }) {
  const item = document.createElement('li');
  const text = document.createElement('span');
  text.textContent = name;
  text.dir = 'auto';
  text.style.setProperty('--hue', hueOf(name));
  item.append(avatar(name), text);
  if (connections > 1) {
    const times = document.createElement('small');
    times.textContent = `×${connections}`;
    times.title = `Connected ${connections} times`;
    item.append(times);
  }
  return item;
}
