// The connection: the one SDK client of the page, and which connections were ours.

import { store } from './storage.js';

const REMEMBERED = 200; // connection ids kept, to know one's own messages after a reload

export class Connection extends EventTarget {
  state = 'idle'; // idle, connecting, connected, reconnecting, stopped
  reason = '';

  #client;
  #own = new Set(store.local.get('clients', []));

  constructor() {
    super();
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    this.#client = new globalThis.Centrifuge(`${scheme}://${location.host}/connection/websocket`, { name: 'hubbub-web' });
    this.#client.on('connecting', () => this.#become(this.state === 'idle' ? 'connecting' : 'reconnecting'));
    this.#client.on('connected', (ctx) => {
      this.#remember(ctx.client);
      this.#become('connected');
    });
    this.#client.on('disconnected', (ctx) => this.#become('stopped', ctx.reason));
  }

  connect(name) {
    this.#client.setData({ name });
    this.#client.connect();
  }

  // rename needs a new connection: a name is told once, in the connect command.
  // Subscriptions stay and recover, so nothing is missed meanwhile.
  rename(name) {
    this.#client.setData({ name });
    if (this.state === 'idle') return;
    this.#client.disconnect();
    this.#client.connect();
  }

  // subscription asks for join and leave events; recovery is the server's to switch on.
  subscription(channel) {
    return this.#client.getSubscription(channel) ?? this.#client.newSubscription(channel, { joinLeave: true });
  }

  forget(sub) { this.#client.removeSubscription(sub); }

  isOwn(client) { return Boolean(client) && this.#own.has(client); }

  #remember(client) {
    this.#own.add(client);
    const ids = [...new Set([...store.local.get('clients', []), ...this.#own])].slice(-REMEMBERED);
    this.#own = new Set(ids);
    store.local.set('clients', ids);
  }

  #become(state, reason = '') {
    this.state = state;
    this.reason = reason;
    this.dispatchEvent(new Event('state'));
  }
}
