// A room: one subscription, its timeline and its outbox.
//
// The timeline has no gap because of the order of things: first subscribed, then
// the newest page of history, and what arrives live meanwhile waits beside it and
// is merged by offset. After a cut the SDK recovers; where the server says that
// it could not (recovered: false), the page is loaded anew and replaces the old.

import { isOffset, kindOf, toChange, toMessage } from './message.js';
import { Outbox } from './outbox.js';
import { Timeline } from './timeline.js';

const PAGE = 50;
const LIMIT = 600; // messages held where the newest are what is looked at
const READING = 6000; // and where someone reads further up
const NO_HISTORY = new Set([103, 108]); // permission denied, not available: asking again changes nothing
const SLACK = 200; // dropped beyond that, so that it does not happen at every message
const RELOAD_DELAY_MS = 1500;

export class Room extends EventTarget {
  name;
  timeline = new Timeline();
  outbox;
  state = 'joining'; // joining, live, refused
  reason = '';
  unread = 0;
  draft = '';
  loading = false;
  loaded = false;
  hasOlder = false;
  keepsHistory = true; // for this reader
  loadingOlder = false;
  sub;

  #connection;
  #epoch = '';
  #oldest = 0; // offset of the oldest publication loaded, also of one that shows nothing
  #olderNotBefore = 0;
  #opened = false;
  #turn = 0; // a load that finds another number here is out of date
  #meanwhile = []; // publications that arrived while the first page was loading

  constructor(connection, name) {
    super();
    this.name = name;
    this.#connection = connection;
    this.outbox = new Outbox(name, {
      publish: (data, key) => connection.send(name, data, key),
      isOpen: () => this.isLive && this.loaded,
      isShown: (offset) => this.timeline.has(offset),
      changed: () => this.#emit('messages'),
    });
    this.sub = connection.subscription(name);
    this.sub.on('subscribed', (ctx) => this.#subscribed(ctx));
    this.sub.on('subscribing', () => this.#become('joining'));
    this.sub.on('unsubscribed', (ctx) => this.#unsubscribed(ctx));
    this.sub.on('publication', (pub) => this.#publication(pub));
    this.sub.on('join', () => this.#emit('presence'));
    this.sub.on('leave', () => this.#emit('presence'));
    this.sub.subscribe();
  }

  get isLive() { return this.state === 'live'; }

  // open is called when the room comes on the screen. Rooms that stay in the
  // sidebar only count what they miss; history is read at the first opening.
  open() {
    this.unread = 0;
    if (this.#opened) return;
    this.#opened = true;
    if (this.isLive) this.#load();
  }

  close() {
    this.#turn += 1;
    this.#connection.forget(this.sub);
  }

  rejoin() { this.sub.subscribe(); }

  send(text) {
    this.outbox.add(text);
    this.#emit('messages');
  }

  async loadOlder() {
    if (!this.loaded || !this.hasOlder || this.loadingOlder || Date.now() < this.#olderNotBefore) return;
    this.loadingOlder = true;
    const turn = this.#turn;
    this.#emit('loading');
    try {
      const page = await this.sub.history({ limit: PAGE, reverse: true, since: { offset: this.#oldest, epoch: this.#epoch } });
      if (turn === this.#turn) this.#takePage(page.publications);
    } catch {
      // The next scrolling or painting asks again, but not at sixty times a second.
      this.#olderNotBefore = Date.now() + RELOAD_DELAY_MS;
    } finally {
      this.loadingOlder = false;
      this.#emit('messages');
    }
  }

  // trim keeps a page that is left open in a busy room from growing for ever.
  trim(isReading) {
    const limit = isReading ? READING : LIMIT;
    if (this.timeline.size <= limit) return;
    this.timeline.trim(limit - SLACK);
    this.#oldest = this.timeline.oldest;
    this.hasOlder = true;
  }

  #subscribed(ctx) {
    this.#epoch = ctx.streamPosition?.epoch ?? '';
    this.#become('live');
    if (!this.#opened) return;
    if (this.loaded && ctx.wasRecovering && ctx.recovered) this.outbox.opened();
    else this.#load();
  }

  #unsubscribed(ctx) {
    this.#turn += 1;
    this.loading = false;
    this.reason = ctx.reason;
    this.#become('refused');
  }

  #become(state) {
    this.state = state;
    this.#emit('state');
  }

  // load reads the newest page and puts it in the place of whatever was loaded.
  async #load() {
    const turn = ++this.#turn;
    this.loading = true;
    this.#meanwhile = [];
    this.#emit('loading');
    let page;
    try {
      page = await this.sub.history({ limit: PAGE, reverse: true });
    } catch (error) {
      if (turn !== this.#turn) return;
      if (!NO_HISTORY.has(error?.code)) {
        // A lost connection loads at the next subscribed; for a refusal (history
        // briefly not to be had, say) ask again.
        setTimeout(() => { if (turn === this.#turn && this.isLive) this.#load(); }, RELOAD_DELAY_MS);
        return;
      }
    }
    if (turn !== this.#turn) return;
    this.keepsHistory = Boolean(page);
    this.timeline.clear();
    this.#oldest = 0;
    this.#takePage(page?.publications ?? []);
    this.#meanwhile.forEach((pub) => this.#take(pub));
    this.#meanwhile = [];
    this.loading = false;
    this.loaded = true;
    this.outbox.opened();
    this.#emit('messages');
  }

  // A page may be shorter than was asked for, because its bytes are bounded too: the
  // room begins where a page has nothing older.
  #takePage(publications) {
    const oldest = Math.min(...publications.map((pub) => pub.offset).filter(isOffset));
    this.hasOlder = oldest < (this.#oldest || Infinity);
    if (this.hasOlder) this.#oldest = oldest;
    publications.forEach((pub) => this.#take(pub));
  }

  #publication(pub) {
    if (this.loading) this.#meanwhile.push(pub);
    else if (this.loaded) this.#take(pub);
    if (kindOf(pub) === 'message' && !this.#connection.isOwn(pub.info?.client)) this.unread += 1;
    this.#emit('publication');
  }

  #take(pub) {
    const kind = kindOf(pub);
    if (kind === 'change') this.timeline.change(toChange(pub));
    if (kind !== 'message') return;
    const message = toMessage(pub);
    message.own = this.#connection.isOwn(message.client);
    // Only a publication from a connection of ours settles what was typed here:
    // a nonce alone can be copied by anyone in the room.
    const entry = this.outbox.settle(message);
    if (entry) {
      message.own = true;
      message.key = entry.key; // the screen keeps the element it has
    }
    this.timeline.insert(message);
  }

  #emit(type) { this.dispatchEvent(new Event(type)); }
}
