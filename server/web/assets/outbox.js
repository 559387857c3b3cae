// The outbox: what was typed here and has not come back as a publication yet.
// An entry is always in one of these states, and the person always sees which:
//
//   waiting  not sent: no connection, or the server asked to slow down
//   sending  sent, no answer yet
//   acked    the server has it for good; its publication is on the way
//   unsure   the connection broke or the answer said "maybe": it may be stored
//   failed   refused, or unsure and still not seen after the grace period
//
// Only waiting entries are sent by themselves. Sending an unsure one again could
// double it, so that is left to the person, after recovery had its chance to show it.

import { newNonce } from './message.js';
import { store } from './storage.js';

const GRACE_MS = 3000; // recovered publications arrive within one round trip of subscribing
const SLOW_DOWN_MS = 1000;
const TOO_MANY_REQUESTS = 111;
const INTERNAL = 100; // temporary: the server gave up waiting, the message may still be stored
const NOT_SENT = new Set([3, 4, 7]); // the SDK's own codes for "was not even tried"

export class Outbox {
  #entries = new Map(); // nonce → entry, in the order of typing
  #publish;
  #isOpen;
  #changed;
  #drawer;
  #pumping = false;
  #grace;

  // publish sends one entry's data; isOpen tells whether it can be sent now.
  constructor(room, { publish, isOpen, changed }) {
    this.#publish = publish;
    this.#isOpen = isOpen;
    this.#changed = changed;
    this.#drawer = `outbox ${room}`;
    // Kept for the tab, so that a reload loses nothing that was typed.
    for (const { nonce, text, at, state } of store.session.get(this.#drawer, [])) {
      this.#put({ nonce, text, at, state: state === 'sending' ? 'unsure' : state });
    }
  }

  entries() { return [...this.#entries.values()]; }

  add(text) {
    this.#put({ nonce: newNonce(), text, at: Date.now(), state: 'waiting' });
    this.#save();
    this.pump();
  }

  // take removes the entry a publication settles and returns it.
  take(nonce) {
    const entry = this.#entries.get(nonce);
    if (entry && this.#entries.delete(nonce)) this.#save();
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
    if (this.take(nonce)) this.#changed();
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
          await this.#publish({ text: entry.text, nonce: entry.nonce });
          this.#mark(entry, 'acked');
        } catch (error) {
          if (await this.#refused(entry, error) === 'stop') break;
        }
      }
    } finally {
      this.#pumping = false;
    }
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

  #nextWaiting() {
    for (const entry of this.#entries.values()) if (entry.state === 'waiting') return entry;
    return undefined;
  }

  #put(entry) {
    this.#entries.set(entry.nonce, { key: `n${entry.nonce}`, version: 0, reason: '', ...entry });
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
    store.session.set(this.#drawer, kept.map(({ nonce, text, at, state }) => ({ nonce, text, at, state })));
  }
}
