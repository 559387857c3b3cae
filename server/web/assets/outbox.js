// The outbox: what was typed here and has not come back as a publication yet.
// An entry is always in one of these states, and the person always sees which:
//
//   held     stored by a tab that is still open: that one sends it
//   waiting  not sent: no connection, or the server asked to slow down
//   sending  sent, no answer yet
//   acked    the server has it for good; its publication is on the way
//   unsure   the connection broke or the answer said "maybe": it may be stored
//   failed   refused, or unsure and still not seen after the grace period
//
// Only waiting entries are sent by themselves. Sending an unsure one again could
// double it, so that is left to the person, after recovery had its chance to show it.
// The nonce is the idempotency key too: of a user with a token the server takes each once.

import { claim, release } from './claims.js';
import { newNonce } from './message.js';
import { asList, store } from './storage.js';

const GRACE_MS = 3000; // recovered publications arrive within one round trip of subscribing
const RELOAD_MS = 5000; // for a page that is reloaded to be gone: after that it is another tab
const SLOW_DOWN_MS = 1000;
const MAX_RESTORED = 200;
const TOO_MANY_REQUESTS = 111;
const INTERNAL = 100; // temporary: the server gave up waiting, the message may still be stored
const NOT_SENT = new Set([3, 4, 7]); // the SDK's own codes for "was not even tried"
const UNCLAIMED = 'Not sent: it was written before this page was loaded';

export class Outbox {
  #entries = new Map(); // nonce → entry, in the order of typing
  #publish;
  #isOpen;
  #isShown;
  #changed;
  #drawer;
  #pumping = false;
  #grace;

  // publish sends one entry's data with a key and resolves to its offset; isOpen tells
  // whether it can be sent now, isShown whether the message of an offset has arrived.
  constructor(room, { publish, isOpen, isShown = () => false, changed }) {
    this.#publish = publish;
    this.#isOpen = isOpen;
    this.#isShown = isShown;
    this.#changed = changed;
    this.#drawer = `outbox ${room}`;
    // Kept for the tab, so that a reload loses nothing that was typed.
    for (const stored of store.session.get(this.#drawer, asEntries, [])) this.#restore(stored);
  }

  entries() { return [...this.#entries.values()]; }

  add(text) {
    const nonce = newNonce();
    this.#put({ nonce, text, at: Date.now(), state: 'waiting' });
    claim(nonce);
    this.#save();
    this.pump();
  }

  // settle removes the entry that a publication is, and returns it. One's own nonce
  // tells, or the offset the server has answered.
  settle({ nonce, offset, own }) {
    let entry = own ? this.#entries.get(nonce) : undefined;
    for (const each of this.#entries.values()) if (!entry && each.sentAs === offset) entry = each;
    if (entry) this.#remove(entry);
    return entry;
  }

  retry(nonce) {
    const entry = this.#entries.get(nonce);
    if (entry?.state !== 'failed') return;
    // Behind what was typed since: it is sent now, and the screen should not promise otherwise.
    this.#entries.delete(nonce);
    this.#entries.set(nonce, entry);
    this.#mark(entry, 'waiting');
    this.pump();
  }

  discard(nonce) {
    const entry = this.#entries.get(nonce);
    if (!entry) return;
    this.#remove(entry);
    this.#changed();
  }

  // opened is told when the room is live again and its missed messages are in.
  opened() {
    clearTimeout(this.#grace);
    this.#grace = setTimeout(() => {
      if (!this.#isOpen()) return; // the next opening starts a new grace period
      for (const entry of this.#entries.values()) {
        if (entry.state === 'unsure') this.#mark(entry, 'failed', 'Not confirmed: it may not have been sent');
      }
    }, GRACE_MS);
    this.pump();
  }

  // pump sends the waiting entries one after the other: the order of typing is
  // then also the order in the room, whatever fails in between.
  async pump() {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      for (let entry; this.#isOpen() && (entry = this.#nextWaiting());) {
        this.#mark(entry, 'sending');
        try {
          this.#acked(entry, await this.#publish({ text: entry.text, nonce: entry.nonce }, entry.nonce));
        } catch (error) {
          if (await this.#refused(entry, error) === 'stop') break;
        }
      }
    } finally {
      this.#pumping = false;
    }
  }

  #acked(entry, offset) {
    entry.sentAs = offset;
    this.#mark(entry, 'acked');
    // Sent before, from elsewhere: then it is in the room as somebody's message.
    if (this.#isShown(offset) && this.#entries.has(entry.nonce)) this.discard(entry.nonce);
  }

  async #refused(entry, error) {
    const { code = 0, message = 'unknown error', temporary = false } = error ?? {};
    if (NOT_SENT.has(code)) {
      this.#mark(entry, 'waiting');
      return 'stop';
    }
    if (code === TOO_MANY_REQUESTS) {
      this.#mark(entry, 'waiting');
      await new Promise((resolve) => setTimeout(resolve, SLOW_DOWN_MS));
      return 'go on';
    }
    if (code < 100 || (code === INTERNAL && temporary)) {
      this.#mark(entry, 'unsure');
      if (this.#isOpen()) this.opened(); // no reconnect will start the grace period
      return 'go on';
    }
    this.#mark(entry, 'failed', `Not sent: ${message}`);
    return 'go on';
  }

  // restore takes an entry from before a reload, once it is sure that no other tab has it.
  async #restore({ nonce, text, at, state }) {
    this.#put({ nonce, text, at, state: 'held', stored: state });
    const entry = this.#entries.get(nonce);
    const began = Date.now();
    const mine = await claim(nonce);
    if (!this.#entries.has(nonce)) return; // settled meanwhile, by the other tab
    if (!mine && state === 'waiting') this.#mark(entry, 'failed', UNCLAIMED);
    else if (Date.now() - began > RELOAD_MS && state !== 'failed') this.#mark(entry, 'unsure');
    else this.#mark(entry, state, state === 'failed' ? 'Not sent' : '');
    if (this.#isOpen()) this.opened();
  }

  #nextWaiting() {
    for (const entry of this.#entries.values()) if (entry.state === 'waiting') return entry;
    return undefined;
  }

  #put(entry) {
    this.#entries.set(entry.nonce, { key: `n${entry.nonce}`, version: 0, reason: '', ...entry });
  }

  #remove(entry) {
    this.#entries.delete(entry.nonce);
    release(entry.nonce);
    this.#save();
  }

  #mark(entry, state, reason = '') {
    if (!this.#entries.has(entry.nonce)) return; // its publication came first
    entry.state = state;
    entry.reason = reason;
    entry.version += 1;
    this.#save();
    this.#changed();
  }

  #save() {
    // What the server has for good is found again in history, not here.
    const kept = this.entries().filter((entry) => entry.state !== 'acked');
    store.session.set(this.#drawer, kept.map(({ nonce, text, at, state, stored }) => (
      { nonce, text, at, state: state === 'held' ? stored : state })));
  }
}

// What a reload makes of the states; what is unknown here may have been sent.
const RESTORED = new Map([['waiting', 'waiting'], ['failed', 'failed']]);

function asEntries(value) {
  return asList(value)?.filter((entry) => typeof entry?.nonce === 'string' && entry.nonce !== ''
    && typeof entry.text === 'string' && Number.isFinite(entry.at) && Math.abs(entry.at) < 8e15)
    .slice(-MAX_RESTORED)
    .map(({ nonce, text, at, state }) => ({ nonce: nonce.slice(0, 64), text, at, state: RESTORED.get(state) ?? 'unsure' }));
}
