// The timeline: a room's messages in their one order. A Map keyed by offset makes
// duplicates impossible, however history pages, recovered publications and live
// ones overlap; the sorted array beside it is the order of the screen.

import { mayChange } from './message.js';

const MAX_CHANGED = 5000; // messages whose changes are remembered
const MAX_CHANGES = 50; // of one message; a newer one of the same author replaces the older

export class Timeline {
  #byOffset = new Map();
  #order = []; // offsets, ascending
  #changes = new Map(); // offset of a message → its edits and deletions, whoever sent them

  get size() { return this.#order.length; }
  get oldest() { return this.#order[0]; }
  get newest() { return this.#order.at(-1); }

  has(offset) { return this.#byOffset.has(offset); }

  // insert returns false for what is already there.
  insert(message) {
    const { offset } = message;
    if (this.#byOffset.has(offset)) return false;
    this.#byOffset.set(offset, message);
    if (this.#order.length === 0 || offset > this.newest) this.#order.push(offset);
    else this.#order.splice(this.#place(offset), 0, offset);
    this.#changes.get(offset)?.forEach((change) => apply(message, change));
    return true;
  }

  // change remembers an edit or deletion also for a message not loaded yet: pages
  // come newest first, so the change is often seen before what it changes, and whether
  // its author may do that is known only then.
  change(change) {
    const { of, deleted, by } = change;
    const message = this.#byOffset.get(of);
    if (message && !mayChange(by, message.author)) return;
    const known = this.#changes.get(of) ?? [];
    const same = known.findIndex((each) => each.deleted === deleted && each.by.id === by.id);
    if (same >= 0 && known[same].offset >= change.offset) return;
    if (same >= 0) known.splice(same, 1);
    known.push(change);
    if (known.length > MAX_CHANGES) known.shift();
    this.#changes.set(of, known);
    if (this.#changes.size > MAX_CHANGED) this.#changes.delete(this.#changes.keys().next().value);
    if (message) apply(message, change);
  }

  clear() {
    this.#byOffset.clear();
    this.#order.length = 0;
    this.#changes.clear();
  }

  // trim forgets the oldest messages beyond keep; history brings them back.
  trim(keep) {
    const dropped = this.#order.splice(0, Math.max(0, this.#order.length - keep));
    for (const offset of dropped) this.#byOffset.delete(offset);
  }

  messages() { return this.#order.map((offset) => this.#byOffset.get(offset)); }

  #place(offset) {
    let low = 0;
    let high = this.#order.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#order[middle] < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

// apply joins a change to a message, in any order and any number of times: of edits
// the latest counts, and a deletion stays, whatever was written before or after it.
function apply(message, { by, offset, deleted, text }) {
  if (!mayChange(by, message.author)) return;
  if (deleted) message.deleted = true;
  else if (offset > (message.editedAt ?? 0)) {
    message.editedAt = offset;
    message.edited = true;
    message.text = text;
    message.raw = false;
  } else return;
  if (message.deleted) message.text = '';
  message.version += 1;
}
