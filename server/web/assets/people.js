// The people: who is in the room on the screen. Asked every ten seconds and after
// someone came or went. In a large room only the number is asked for: the list
// would be megabytes, and nobody reads ten thousand names.

import { authorOf } from './message.js';
import { cleanName } from './names.js';
import { paintAvatar, paintHue } from './avatar.js';

const EVERY_MS = 10_000;
const SOON_MS = 300; // joins come in bursts; one question answers them all
const SOON_EACH_MS = 15; // and the more are listed, the longer is waited for more news
const LISTED = 200;
const STACKED = 3;

export class People {
  #parts;
  #room;
  #timer;
  #due = Infinity; // when the timer fires
  #asked = 0;
  #listed = 0;

  constructor(parts) {
    this.#parts = parts;
    document.addEventListener('visibilitychange', () => this.soon());
  }

  follow(room) {
    this.#room = room;
    this.#listed = 0;
    this.#clear();
    this.soon();
  }

  soon() { this.#refreshIn(SOON_MS + SOON_EACH_MS * this.#listed); }

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
    this.#listed = people.length;
    const total = clients ? people.length : count;
    const { button, count: label, heading, stack, list, more } = this.#parts;
    button.hidden = total === 0;
    label.textContent = heading.textContent = total.toLocaleString();
    stack.replaceChildren(...people.slice(0, STACKED).map((person) => avatar(person, 1)));
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

// One person may be connected several times: by telephone, in three tabs. Several may
// have one name: then the id that the server knows each by stands beside it.
function distinct(clients) {
  const people = new Map();
  const named = new Map();
  for (const info of Object.values(clients)) {
    const { id, name } = authorOf(info);
    const person = people.get(id) ?? { id, name, connections: 0 };
    if (person.connections === 0) named.set(name, (named.get(name) ?? 0) + 1);
    person.connections += 1;
    people.set(id, person);
  }
  for (const person of people.values()) person.isOneOfSeveral = named.get(person.name) > 1 && person.name !== person.id;
  return [...people.values()].sort((a, b) => a.name.localeCompare(b.name) || (a.id < b.id ? -1 : 1));
}

function avatar(person, letters = 2) {
  const element = document.createElement('span');
  element.className = 'avatar';
  element.setAttribute('aria-hidden', 'true');
  paintAvatar(element, person, letters);
  return element;
}

function row(person) {
  const { id, name, connections, isOneOfSeveral } = person;
  const item = document.createElement('li');
  const text = document.createElement('span');
  text.textContent = name;
  text.dir = 'auto';
  text.title = id;
  paintHue(text, id);
  item.append(avatar(person), text);
  if (isOneOfSeveral) text.append(note(cleanName(id), 'whose'));
  if (connections > 1) item.append(note(`×${connections}`, 'times', `Connected ${connections} times`));
  return item;
}

function note(text, kind, title = '') {
  const element = document.createElement('small');
  element.className = kind;
  element.textContent = text;
  element.title = title;
  return element;
}
