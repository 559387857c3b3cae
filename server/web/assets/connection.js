// The connection: the one SDK client of the page, who it is to the server, and which
// connections were ours.

import { asText, asTexts, store } from './storage.js';

const REMEMBERED = 200; // connection ids kept, to know one's own messages after a reload

// How a server that wants a token, or another one, ends a connection: the SDK's own
// "unauthorized" (an expired token), the reply to a connect, and the close codes.
const UNAUTHORIZED = new Set([1, 101, 109, 3500]);

const LOOKS_LIKE_A_TOKEN = /^[\w-]+\.[\w-]+\.[\w-]*$/u;
const asToken = (value) => (LOOKS_LIKE_A_TOKEN.test(asText(value)) ? value : undefined);

// Names that the SDK cannot keep a subscription under, see below.
export const UNUSABLE = new Set(['hasOwnProperty']);

export class Connection extends EventTarget {
  state = 'idle'; // idle, connecting, connected, reconnecting, stopped
  reason = '';
  id = ''; // what others see as the user: a token's, or the guest's that this connection is

  wasRefused = false; // a token was, and is forgotten

  #code = 0;
  #client;
  #token = store.session.get('token', asToken, ''); // for this tab alone, and never in an address
  #own = new Set(store.local.get('clients', asTexts, []));

  constructor() {
    super();
    // Relative to the page, which may stand under a path of a proxy's.
    const url = new URL('connection/websocket', document.baseURI);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    this.#client = new globalThis.Centrifuge(url.href, { name: 'hubbub-web', token: this.#token });
    // The SDK looks subscriptions up in plain objects, where "constructor" is always
    // there. Without Object.prototype behind them every room can be joined but one: the
    // SDK calls hasOwnProperty on them.
    const { hasOwnProperty } = Object.prototype;
    for (const table of [this.#client.subscriptions(), this.#client._serverSubs]) {
      Object.setPrototypeOf(table, Object.create(null, { hasOwnProperty: { value: hasOwnProperty } }));
    }
    this.#client.on('connecting', () => this.#become(this.state === 'idle' ? 'connecting' : 'reconnecting'));
    this.#client.on('connected', (ctx) => {
      this.id = userOf(this.#token) || `guest-${ctx.client}`;
      this.#remember(ctx.client);
      this.#become('connected');
    });
    this.#client.on('disconnected', (ctx) => {
      this.wasRefused = UNAUTHORIZED.has(ctx.code) && this.#token !== '';
      if (this.wasRefused) this.#keep('');
      this.#become('stopped', ctx.reason, ctx.code);
    });
    store.local.follow('clients', () => this.#recall());
  }

  connect(name) {
    this.#client.setData({ name });
    this.#client.connect();
  }

  // needsToken: the server lets nobody in without a token, or not with this one.
  get needsToken() { return this.state === 'stopped' && UNAUTHORIZED.has(this.#code); }

  // use connects with a token and returns true, or false for what is none.
  use(token) {
    if (!LOOKS_LIKE_A_TOKEN.test(token)) return false;
    this.#keep(token);
    this.#client.connect();
    return true;
  }

  // rename needs a new connection: a name is told once, in the connect command.
  // Subscriptions stay and recover, so nothing is missed meanwhile.
  rename(name) {
    this.#client.setData({ name });
    if (this.state === 'idle' || this.needsToken) return;
    this.#client.disconnect();
    this.#client.connect();
  }

  // subscription asks for join and leave events; recovery is the server's to switch on.
  subscription(channel) {
    return this.#client.getSubscription(channel) ?? this.#client.newSubscription(channel, { joinLeave: true });
  }

  forget(sub) { this.#client.removeSubscription(sub); }

  // send resolves to the offset under which the room has the message, this one or the
  // first that was sent with the key; undefined where nothing is kept.
  async send(channel, data, key) {
    const reply = await this.#client.rpc('chat.send', { channel, data, key });
    return reply.data?.offset;
  }

  isOwn(client) { return Boolean(client) && this.#own.has(client); }

  #keep(token) {
    this.#token = token;
    store.session.set('token', token);
    this.#client.setToken(token);
  }

  #recall() {
    this.#own = new Set([...store.local.get('clients', asTexts, []), ...this.#own]);
  }

  #remember(client) {
    this.#recall();
    this.#own.add(client);
    const ids = [...this.#own].slice(-REMEMBERED);
    this.#own = new Set(ids);
    store.local.set('clients', ids);
  }

  #become(state, reason = '', code = 0) {
    this.state = state;
    this.reason = reason;
    this.#code = code;
    this.dispatchEvent(new Event('state'));
  }
}

// userOf reads whose a token is, without judging it: that is the server's to do.
function userOf(token) {
  try {
    const claims = atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/'));
    const { sub } = JSON.parse(new TextDecoder().decode(Uint8Array.from(claims, (char) => char.charCodeAt(0))));
    return typeof sub === 'string' ? sub : '';
  } catch {
    return '';
  }
}
