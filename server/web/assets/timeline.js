// The timeline: a room's messages in their one order. A Map keyed by offset makes
// duplicates impossible, however history pages, recovered publications and live
// ones overlap; the sorted array beside it is the order of the screen.

export class Timeline {
  #byOffset = new Map();
  #order = []; // offsets, ascending
  #changes = new Map(); // offset of a message → its latest edit or deletion

  get size() { return this.#order.length; }
  get oldest() { return this.#order[0]; }
  get newest() { return this.#order.at(-1); }

  // insert returns false for what is already there.
  insert(message) {
    const { offset } = message;
    if (this.#byOffset.has(offset)) return false;
    this.#byOffset.set(offset, message);
    if (this.#order.length === 0 || offset > this.newest) this.#order.push(offset);
    else this.#order.splice(this.#place(offset), 0, offset);
    const change = this.#changes.get(offset);
    if (change) apply(message, change);
    return true;
  }

  // change remembers an edit or deletion also for a message not loaded yet: pages
  // come newest first, so the change is often seen before what it changes.
  change({ of, offset, deleted, text }) {
    const known = this.#changes.get(of);
    if (known && known.offset >= offset) return;
    const change = { offset, deleted, text };
    this.#changes.set(of, change);
    const message = this.#byOffset.get(of);
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

function apply(message, change) {
  message.deleted = change.deleted;
  if (change.deleted) message.text = '';
  else if (typeof change.text === 'string') {
    message.text = change.text;
    message.edited = true;
  }
  message.raw = false;
  message.version += 1;
}
