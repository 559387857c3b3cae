// The room list: the rooms one goes to, in the sidebar, kept from visit to visit.

import { UNUSABLE } from './connection.js';
import { roomLabel } from './names.js';
import { asTexts, store } from './storage.js';

const LOBBY = 'lobby';
const MAX_ROOMS = 12; // all of them are subscribed, for their unread counts
const MAX_BYTES = 255;

// roomName returns what was typed as a name the server takes, or '' with nothing left of it.
export function roomName(typed) {
  const name = typed.trim().replace(/^#+/u, '').trim();
  const wrong = /[\p{Cc}\p{Cs}]/u.test(name) || UNUSABLE.has(name) || new TextEncoder().encode(name).length > MAX_BYTES;
  return wrong ? '' : name;
}

export function roomOfHash(hash) {
  try {
    return roomName(decodeURIComponent(hash.replace(/^#/u, ''))) || LOBBY;
  } catch {
    return LOBBY; // a stray % in the address
  }
}

export const hashOf = (name) => `#${encodeURIComponent(name)}`;

// What was stored may be older than the rules of today.
function asRooms(value) {
  const names = asTexts(value)?.filter((name) => name !== '' && roomName(name) === name) ?? [];
  return names.length > 0 ? [...new Set(names)].slice(-MAX_ROOMS) : undefined;
}

export class RoomList {
  names = store.local.get('rooms', asRooms, [LOBBY]);

  #list;
  #leave;
  #items = new Map(); // name → { item, link, badge }: what is on the screen

  constructor(list, leave) {
    this.#list = list;
    this.#leave = leave;
  }

  // add puts a room at the end and returns the one that fell out at the front, if any.
  add(name) {
    if (this.names.includes(name)) return undefined;
    this.names.push(name);
    const dropped = this.names.length > MAX_ROOMS ? this.names.splice(this.names[0] === LOBBY ? 1 : 0, 1)[0] : undefined;
    store.local.set('rooms', this.names);
    return dropped;
  }

  remove(name) {
    this.names = this.names.filter((other) => other !== name);
    if (this.names.length === 0) this.names.push(LOBBY);
    store.local.set('rooms', this.names);
  }

  // show changes the elements that are there rather than making new ones: an
  // unread count may rise between the press of a button and its release.
  show(current, unreadOf) {
    for (const [name, { item }] of this.#items) {
      if (this.names.includes(name)) continue;
      item.remove();
      this.#items.delete(name);
    }
    for (const name of this.names) {
      if (!this.#items.has(name)) this.#add(name);
      const { link, badge } = this.#items.get(name);
      const unread = unreadOf(name);
      if (name === current) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
      badge.hidden = unread === 0;
      badge.textContent = unread > 99 ? '99+' : unread;
      badge.setAttribute('aria-label', `${unread} unread`);
    }
  }

  #add(name) {
    const item = document.createElement('li');
    const link = document.createElement('a');
    link.href = hashOf(name);
    const label = document.createElement('span');
    label.className = 'room-label';
    label.dir = 'auto';
    label.textContent = roomLabel(name);
    const badge = document.createElement('span');
    badge.className = 'badge';
    link.append(label, badge);
    item.append(link);
    if (name !== LOBBY) item.append(this.#leaveButton(name));
    this.#items.set(name, { item, link, badge });
    this.#list.append(item);
  }

  #leaveButton(name) {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'leave';
    button.textContent = '×';
    button.setAttribute('aria-label', `Leave ${roomLabel(name)}`);
    button.addEventListener('click', () => this.#leave(name));
    return button;
  }
}
