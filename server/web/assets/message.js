// A message: one publication of a room, as the page shows it. Publications come
// from strangers and from any program, so nothing about their shape is trusted
// here: a handler that throws would stop the SDK.

const MAX_NAME = 64;

// An offset holds the millisecond it was minted in above its low 10 bits.
export const timeOf = (offset) => Math.floor(offset / 1024);

export function toMessage(pub) {
  const data = pub.data;
  const isObject = data !== null && typeof data === 'object' && !Array.isArray(data);
  const message = {
    key: `o${pub.offset}`,
    offset: pub.offset,
    at: timeOf(pub.offset),
    author: authorOf(pub.info),
    client: pub.info?.client ?? '',
    nonce: isObject && typeof data.nonce === 'string' ? data.nonce : '',
    text: '',
    raw: false,
    state: 'settled',
    version: 0,
  };
  if (isObject && typeof data.text === 'string') message.text = data.text;
  else if (typeof data === 'string') message.text = data;
  else {
    // Some other program's object: shown as it is rather than hidden, so that
    // what is in the room is also on the screen.
    message.text = JSON.stringify(data, null, 2) ?? '';
    message.raw = true;
  }
  return message;
}

// What a publication does to the room: a message of its own, a change of an
// earlier one, or something this page has nothing to show for.
export function kindOf(pub) {
  const type = pub.data?.type;
  if (!Number.isSafeInteger(pub.offset)) return 'passing'; // typing, read: not kept by the room
  if (type === 'edit' || type === 'delete') return Number.isSafeInteger(pub.data.of) ? 'change' : 'passing';
  if (type === 'react') return 'passing';
  return 'message';
}

// The name in conn_info is what the person chose; the user id is what the server
// knows. Messages are grouped by id and name together, because a guest may change
// the one and gets a new other at each connection.
export function authorOf(info) {
  const chosen = info?.connInfo?.name;
  const name = (typeof chosen === 'string' ? chosen.trim().slice(0, MAX_NAME) : '') || info?.user || (info ? 'Guest' : 'Server');
  return { id: info?.user || info?.client || '', name };
}

// Marks a message as this page's own until its publication arrives. Not
// randomUUID: that exists on https and localhost alone, and a laptop serving
// its LAN is neither.
export function newNonce() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, '0')).join('');
}
