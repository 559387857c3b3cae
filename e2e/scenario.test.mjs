// One scripted scenario through the unmodified `centrifuge` package, over JSON and over
// Protobuf: tokens and their expiry, private and direct rooms, history, presence,
// recovery, and what the server orders. Go and Python have the same steps: see
// go/scenario_test.go and python/test_scenario.py.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Centrifuge } from 'centrifuge';
import { Centrifuge as CentrifugeProtobuf } from 'centrifuge/build/protobuf';
import WebSocket from 'ws';
import { eventually, makeToken, Proxy, Server, sleep, within } from './harness.mjs';

const LIMIT = { timeout: 120_000 };
const KEY = 'hs256:a secret of the scenario, 32 bytes long';
const API_KEY = 'an-api-key-of-the-scenario';
const CONFIG = { namespaces: { room: { join_leave: true }, short: { history_size: 5 } } };
const TTL_S = 3;
const GRACE_S = 25; // for which the server lets an expired token live on, see PROTOCOL.md

const decoder = new TextDecoder();
const variants = [
  { name: 'json', Client: Centrifuge, write: (data) => data, read: (data) => data },
  {
    name: 'protobuf', Client: CentrifugeProtobuf,
    write: (data) => new TextEncoder().encode(JSON.stringify(data)),
    read: (data) => JSON.parse(decoder.decode(data)),
  },
];

const connectionToken = (user, ...flags) => makeToken(KEY, '--user', user, ...flags);
const subscriptionToken = (user, channel, ...flags) => makeToken(KEY, '--user', user, '--channel', channel, ...flags);
const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

// Most of the time goes into waiting for tokens to expire, so both variants run at once,
// each against a server of its own.
describe('scenario', { concurrency: true, ...LIMIT }, () => variants.forEach((variant) => {
  describe(variant.name, { concurrency: 1, ...LIMIT }, () => scenario(variant));
}));

function scenario({ name: variant, Client, write, read }) {
  const clients = [];
  let server;
  let proxy;
  let alice;
  let bob;
  let lasting;

  before(async () => {
    server = await Server.start({ env: { HUBBUB_TOKEN_KEY: KEY, HUBBUB_API_KEY: API_KEY }, config: CONFIG });
    proxy = await Proxy.start(server.port);
    lasting = await outlive();
  }, LIMIT);

  after(async () => {
    clients.forEach((client) => client.disconnect());
    await proxy?.close();
    await server?.close();
  }, LIMIT);

  // newClient keeps what happens to the connection. Only the delays are changed:
  // everything else is the SDK as people use it.
  function newClient(options, socket = server.socket) {
    const client = new Client(socket, { websocket: WebSocket, minReconnectDelay: 50, maxReconnectDelay: 400, ...options });
    client.seen = { connecting: [], connected: [], disconnected: [], subscribed: [], publications: [] };
    for (const event of ['connecting', 'connected', 'disconnected', 'subscribed']) {
      client.on(event, (ctx) => client.seen[event].push(ctx));
    }
    client.on('publication', (ctx) => client.seen.publications.push(read(ctx.data).n));
    clients.push(client);
    client.connect();
    return client;
  }

  async function signedIn(user, { flags = [], socket } = {}) {
    const client = newClient({ token: await connectionToken(user, ...flags) }, socket);
    await within(client.ready(), `${user} is connected`);
    return client;
  }

  function subscribe(client, channel, options = {}) {
    const sub = client.newSubscription(channel, { minResubscribeDelay: 50, maxResubscribeDelay: 400, ...options });
    sub.seen = { subscribed: [], unsubscribed: [], error: [], join: [], leave: [], publications: [] };
    for (const event of ['subscribed', 'unsubscribed', 'error', 'join', 'leave']) {
      sub.on(event, (ctx) => sub.seen[event].push(ctx));
    }
    sub.on('publication', (ctx) => sub.seen.publications.push(read(ctx.data).n));
    sub.subscribe();
    return sub;
  }

  async function member(client, channel, options) {
    const sub = subscribe(client, channel, options);
    await within(sub.ready(), `subscribed to ${channel}`);
    return sub;
  }

  async function refused(client, channel, code, options) {
    const sub = subscribe(client, channel, options);
    await eventually(() => sub.seen.unsubscribed.length > 0, `${channel} is refused`);
    assert.equal(sub.seen.unsubscribed[0].code, code);
    assert.equal(sub.seen.subscribed.length, 0);
    client.removeSubscription(sub);
  }

  async function publish(client, channel, list) {
    for (const n of list) await within(client.publish(channel, write({ n })), `${n} is acknowledged`);
  }

  const received = (seen, list) => eventually(() => {
    assert.deepEqual(seen.publications, list);
    return true;
  }, `${list.length} publications, each once and in order`);

  // order posts to the server API. It returns false where the server has none.
  async function order(t, method, body) {
    const reply = await fetch(`${server.page}api/${method}`, {
      method: 'POST', headers: { 'X-API-Key': API_KEY, 'Content-Type': 'application/json' },
      body: JSON.stringify(body), signal: AbortSignal.timeout(10_000),
    });
    if (reply.status === 404) {
      t.skip(`this server has no API: POST /api/${method} answers 404`);
      return false;
    }
    assert.equal(reply.status, 200);
    assert.deepEqual(await reply.json(), { result: {} });
    return true;
  }

  // outlive connects with tokens of three seconds; the last step looks at what became of it.
  async function outlive() {
    const started = Date.now();
    let tokens = 0;
    let subTokens = 0;
    const client = newClient({
      getToken: () => { tokens++; return connectionToken('lasting', '--ttl', `${TTL_S}s`); },
    });
    await within(client.ready(), 'the client with short tokens is connected');
    const sub = await member(client, '$lasting', {
      getToken: () => { subTokens++; return subscriptionToken('lasting', '$lasting', '--ttl', `${TTL_S}s`); },
    });
    return { client, sub, tokens: () => tokens, subTokens: () => subTokens, over: started + (TTL_S + GRACE_S + 1.5) * 1000 };
  }

  test('connect with a token', LIMIT, async () => {
    alice = await signedIn('alice', { flags: ['--info', '{"name":"Alice"}'] });
    bob = await signedIn('bob');
    assert.ok(alice.seen.connected[0].client);
    assert.equal(alice.seen.connected[0].transport, 'websocket');
  });

  test('a wrong token ends it: no endless reconnect', LIMIT, async () => {
    const token = await makeToken('hs256:another secret than that of the server', '--user', 'mallory');
    const client = newClient({ token });
    await eventually(() => client.seen.disconnected.length > 0, 'it gives up');
    assert.equal(client.seen.disconnected[0].code, 3500);
    await sleep(1000);
    assert.equal(client.seen.connecting.length, 1);
    assert.equal(client.state, 'disconnected');
  });

  test('a private channel wants a subscription token', LIMIT, async () => {
    await refused(alice, '$team', 103);
    await refused(alice, '$team', 103, { token: await subscriptionToken('bob', '$team') });
    await refused(alice, '$team', 103, { token: await subscriptionToken('alice', '$other') });
    const sub = await member(alice, '$team', {
      getToken: ({ channel }) => subscriptionToken('alice', channel, '--allow', 'pub,hst,prs'),
    });
    await publish(alice, '$team', [1]);
    await received(sub.seen, [1]);
  });

  test('a direct-message room is for its two', LIMIT, async () => {
    const carol = await signedIn('carol');
    const [a, b] = [await member(alice, '@alice,bob'), await member(bob, '@alice,bob')];
    await refused(carol, '@alice,bob', 103);
    await assert.rejects(carol.publish('@alice,bob', write({ n: 0 })), { code: 103 });
    await publish(bob, '@alice,bob', [1]);
    await received(a.seen, [1]);
    await received(b.seen, [1]);
  });

  test('publish, and history by pages both ways', LIMIT, async () => {
    const sub = await member(alice, 'room:history');
    const sent = numbers(1, 120);
    await publish(alice, 'room:history', sent);
    await received(sub.seen, sent);
    for (const reverse of [false, true]) {
      const found = [];
      const pages = [];
      for (let since; ;) {
        const page = await within(sub.history({ limit: 50, reverse, since }), 'a page of history');
        if (page.publications.length === 0) break;
        pages.push(page.publications.length);
        found.push(...page.publications.map((pub) => read(pub.data).n));
        since = { offset: page.publications.at(-1).offset, epoch: page.epoch };
      }
      assert.deepEqual(pages, [50, 50, 20]);
      assert.deepEqual(found, reverse ? sent.toReversed() : sent);
    }
  });

  test('presence, joins and leaves', LIMIT, async () => {
    const a = await member(alice, 'room:presence', { joinLeave: true });
    const b = await member(bob, 'room:presence');
    const [aliceID, bobID] = [alice, bob].map((client) => client.seen.connected[0].client);
    await eventually(() => a.seen.join.some(({ info }) => info.client === bobID && info.user === 'bob'), 'Bob joins');
    const { clients: there } = await within(a.presence(), 'presence');
    assert.deepEqual(Object.keys(there).sort(), [aliceID, bobID].sort());
    assert.equal(there[aliceID].user, 'alice');
    assert.deepEqual(read(there[aliceID].connInfo), { name: 'Alice' });
    assert.deepEqual(await within(a.presenceStats(), 'presence stats'), { numClients: 2, numUsers: 2 });
    b.unsubscribe();
    await eventually(() => a.seen.leave.length > 0, 'Bob leaves');
    assert.equal(a.seen.leave[0].info.client, bobID);
    assert.deepEqual(await within(a.presenceStats(), 'presence stats'), { numClients: 1, numUsers: 1 });
  });

  test('recovery after a cut, and its refusal when history is gone', LIMIT, async () => {
    const dave = await signedIn('dave', { socket: proxy.socket, flags: ['--channels', 'room:server-side'] });
    const [kept, gone] = [await member(dave, 'room:kept'), await member(dave, 'short:gone')];
    const rooms = ['room:kept', 'short:gone', 'room:server-side'];
    for (const room of rooms) await publish(alice, room, [1, 2]);
    for (const seen of [kept.seen, gone.seen, dave.seen]) await received(seen, [1, 2]);

    proxy.cut();
    for (const room of rooms) await publish(alice, room, numbers(3, 60));
    proxy.mend();
    await eventually(() => [kept.seen, gone.seen, dave.seen].every((seen) => seen.subscribed.length === 2), 'all are subscribed again');
    for (const room of rooms) await publish(alice, room, [61]);
    await received(kept.seen, numbers(1, 61));
    await received(dave.seen, numbers(1, 61));
    await received(gone.seen, [1, 2, 61]);
    for (const [seen, recovered] of [[kept.seen, true], [gone.seen, false], [dave.seen, true]]) {
      assert.equal(seen.subscribed[0].wasRecovering, false);
      assert.equal(seen.subscribed[1].wasRecovering, true);
      assert.equal(seen.subscribed[1].recovered, recovered);
    }
  });

  test('server-side subscriptions', LIMIT, async () => {
    const erin = await signedIn('erin', { flags: ['--channels', 'room:first,$second'] });
    await eventually(() => erin.seen.subscribed.length === 2, 'subscribed by the server');
    assert.deepEqual(erin.seen.subscribed.map((ctx) => ctx.channel).sort(), ['$second', 'room:first']);
    assert.ok(erin.seen.subscribed.every((ctx) => ctx.recoverable && ctx.positioned));
    await publish(alice, 'room:first', [1]);
    await received(erin.seen, [1]);
  });

  test('RPC: a message with a key is sent once, and somebody types', LIMIT, async () => {
    const sub = await member(bob, 'room:rpc');
    const types = [];
    sub.on('publication', (ctx) => types.push(read(ctx.data).type));
    const call = async (method, data) => read((await within(alice.rpc(method, write(data)), method)).data);
    const first = await call('chat.send', { channel: 'room:rpc', data: { n: 1 }, key: 'k' });
    assert.ok(first.offset > 0);
    assert.equal(first.duplicate, false);
    const again = await call('chat.send', { channel: 'room:rpc', data: { n: 1 }, key: 'k' });
    assert.deepEqual(again, { offset: first.offset, duplicate: true });
    await assert.rejects(call('chat.send', { channel: 'room:rpc', data: { n: 2 }, key: 'k' }), { code: 107 });
    await assert.rejects(call('chat.send', { channel: '$other', text: 'hi' }), { code: 103 });
    assert.deepEqual(await call('chat.typing', { channel: 'room:rpc' }), {});
    await eventually(() => types.includes('typing'), 'Bob sees that Alice types');
    await publish(alice, 'room:rpc', [3]);
    await received(sub.seen, [1, undefined, 3]);
    const { publications } = await within(sub.history({ limit: 10 }), 'history');
    assert.deepEqual(publications.map((pub) => read(pub.data).n), [1, 3]);
    assert.equal(publications[0].offset, first.offset);
  });

  test('an unknown RPC is not available', LIMIT, async () => {
    await assert.rejects(within(alice.rpc('no.such', write({})), 'the reply'), (error) => {
      assert.equal(error.code, 108);
      assert.ok(error.message);
      return true;
    });
  });

  test('the server unsubscribes and disconnects', LIMIT, async (t) => {
    const frank = await signedIn('frank');
    const sub = await member(frank, 'room:orders');
    await publish(alice, 'room:orders', [1]);
    await received(sub.seen, [1]);
    if (!await order(t, 'unsubscribe', { user: 'frank', channel: 'room:orders' })) return;
    await eventually(() => sub.seen.unsubscribed.length > 0, 'unsubscribed');
    assert.equal(sub.seen.unsubscribed[0].code, 2000);
    await publish(alice, 'room:orders', [2]);

    await order(t, 'disconnect', { user: 'frank' });
    await eventually(() => frank.seen.disconnected.length > 0, 'disconnected');
    assert.equal(frank.seen.disconnected[0].code, 3503);
    await sleep(1000);
    assert.equal(frank.seen.connecting.length, 1, 'it stays away');
    assert.deepEqual(sub.seen.publications, [1], 'nothing comes after the unsubscribe');
  });

  test('tokens expire and are refreshed', LIMIT, async () => {
    const { client, sub, tokens, subTokens, over } = lasting;
    await sleep(Math.max(0, over - Date.now()));
    await publish(client, 'room:lasting', [1]);
    await publish(alice, 'room:lasting', [2]);
    assert.equal(client.seen.connecting.length, 1, `one connection all the time, closed: ${JSON.stringify(client.seen.connecting)}`);
    assert.equal(client.state, 'connected');
    assert.deepEqual([sub.state, sub.seen.subscribed.length, sub.seen.error], ['subscribed', 1, []]);
    assert.ok(tokens() >= 5 && subTokens() >= 5, `${tokens()} and ${subTokens()} tokens were asked for (${variant})`);
  });
}
