// A message: one publication of a room, as the page shows it. Publications come
// from strangers and from any program, so nothing about their shape is trusted
// here: a handler that throws would stop the SDK.

import { cleanName } from './names.js';
import { outline } from './outline.js';

// The types that a chat server writes about a message or a person. They are no
// messages; a server refuses them from a client that just publishes them.
const ABOUT = new Set(['edit', 'delete', 'react', 'typing', 'read']);

// An offset holds the millisecond it was minted in above its low 10 bits.
export const timeOf = (offset) => Math.floor(offset / 1024);

export const isOffset = (value) => Number.isSafeInteger(value) && value > 0;

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
const own = (object, name) => (isObject(object) && Object.hasOwn(object, name) ? object[name] : undefined);
const ownText = (object, name) => {
  const value = own(object, name);
  return typeof value === 'string' ? value : '';
};

export function toMessage(pub) {
  const { data } = pub;
  const text = typeof data === 'string' ? data : own(data, 'text');
  // Some other program's value is shown rather than hidden, so that what is in the
  // room is also on the screen.
  const raw = typeof text !== 'string';
  return {
    key: `o${pub.offset}`,
    offset: pub.offset,
    at: timeOf(pub.offset),
    author: authorOf(pub.info),
    client: ownText(pub.info, 'client'),
    nonce: ownText(data, 'nonce'),
    text: raw ? outline(data) : text,
    raw,
    state: 'settled',
    version: 0,
  };
}

// What a publication does to the room: a message of its own, a change of an
// earlier one, or something this page has nothing to show for.
export function kindOf(pub) {
  const type = own(pub.data, 'type');
  if (!isOffset(pub.offset)) return 'passing'; // typing, read: not kept by the room
  if (type === 'edit' || type === 'delete') return toChange(pub) ? 'change' : 'passing';
  return ABOUT.has(type) ? 'passing' : 'message';
}

// toChange returns what an edit or a deletion says, undefined where it says nothing.
export function toChange({ data, offset, info }) {
  const of = own(data, 'of');
  const text = own(data, 'text');
  const deleted = own(data, 'type') === 'delete';
  if (!isOffset(of) || of >= offset || (!deleted && typeof text !== 'string')) return undefined;
  return { of, offset, deleted, text, by: authorOf(info) };
}

// mayChange: a message is changed by who wrote it, as the server stamped both, or by
// the server itself. Whatever else says so in the room is not obeyed.
export const mayChange = (by, author) => Boolean(by.server) || (by.id !== '' && by.id === author.id);

// The name in conn_info is what the person chose; the user id is what the server
// knows, for a guest one of its connection's. What nobody signed is the server's own.
export function authorOf(info) {
  if (!isObject(info)) return { id: '', name: 'Server', server: true };
  const id = ownText(info, 'user') || ownText(info, 'client');
  return { id, name: cleanName(own(own(info, 'connInfo'), 'name')) || cleanName(id) || 'Somebody' };
}

// Marks a message as this page's own until its publication arrives. Not
// randomUUID: that exists on https and localhost alone, and a laptop serving
// its LAN is neither.
export function newNonce() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, '0')).join('');
}
