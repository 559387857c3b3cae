// The unmodified `centrifuge` package against a real server process.

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { connect, eventually, join, Proxy, send, Server, sleep, within } from './harness.mjs';

const LIMIT = { timeout: 120_000 };

let server;
let room = 0;
const clients = [];

before(async () => { server = await Server.start(); }, LIMIT);
// A test that failed between a kill and a restart is not to fail all that come after it.
beforeEach(() => server.ensure(), LIMIT);
after(async () => {
  clients.forEach((client) => client.disconnect());
  await server?.close();
}, LIMIT);

async function newClient(name, socket = server.socket, options) {
  const client = await connect(socket, name, options);
  clients.push(client);
  return client;
}

const newRoom = () => `room-${++room}`; // each test has its own

async function publish(sub, from, to) {
  for (let n = from; n <= to; n++) await send(sub, { text: `m${n}` });
}

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => `m${from + i}`);

// assertSame says what is missing, doubled or out of place instead of printing thousands of lines.
function assertSame(got, want, what) {
  const [a, b] = [got, want].map((list) => list.map((pub) => pub.offset));
  const [inA, inB] = [new Set(a), new Set(b)];
  const found = {
    missing: b.filter((offset) => !inA.has(offset)).map((offset) => `#${b.indexOf(offset)}`),
    unknown: a.filter((offset) => !inB.has(offset)).map((offset) => `#${a.indexOf(offset)}`),
    doubled: a.filter((offset, i) => a.indexOf(offset) !== i).map((offset) => `#${b.indexOf(offset)}`),
    misplaced: a.filter((offset, i) => i > 0 && offset < a[i - 1]).length,
  };
  assert.deepEqual(found, { missing: [], unknown: [], doubled: [], misplaced: 0 }, `${what} (${a.length} for ${b.length})`);
  assert.ok(isDeepStrictEqual(got, want), `${what}: the same offsets with other contents`);
}

function assertAscending(offsets) {
  for (let i = 1; i < offsets.length; i++) {
    assert.ok(offsets[i] > offsets[i - 1], `offset ${offsets[i]} after ${offsets[i - 1]}`);
  }
}

test('a publication comes back to its publisher, with who sent it and when', LIMIT, async () => {
  const ada = await newClient('Ada');
  const { sub, publications, subscribed } = await join(ada, newRoom());
  assert.equal(subscribed[0].recoverable, true);
  assert.equal(subscribed[0].positioned, true);
  assert.equal(subscribed[0].wasRecovering, false);
  assert.ok(subscribed[0].streamPosition.epoch, 'the epoch is never empty');
  assert.equal(subscribed[0].streamPosition.offset, 0, 'an empty room is at offset 0, never at the clock');

  const data = { text: 'héllo\n🙂 "quoted" </script>', nested: { list: [1, 2.5, null, true] } };
  await send(sub, data);
  await eventually(() => publications.length === 1, 'the publication arrives');
  const [pub] = publications;
  assert.deepEqual(pub.data, data);
  assert.equal(pub.info.client, ada.id);
  assert.ok(pub.info.user, 'a guest has a user id');
  assert.deepEqual(pub.info.connInfo, { name: 'Ada' });
  assert.ok(Number.isSafeInteger(pub.offset));
  const age = Date.now() - Math.floor(pub.offset / 1024);
  assert.ok(Math.abs(age) < 10_000, `the offset is its time in milliseconds × 1024, off by ${age} ms`);
});

test('two clients see one order, the publishers their own messages in it', LIMIT, async () => {
  const channel = newRoom();
  const [a, b] = [await join(await newClient('Ada'), channel), await join(await newClient('Ben'), channel)];
  const all = [];
  for (let n = 0; n < 100; n++) all.push(a.sub.publish({ text: `a${n}` }), b.sub.publish({ text: `b${n}` }));
  await within(Promise.all(all), 'all are acknowledged');
  await eventually(() => a.publications.length >= 200 && b.publications.length >= 200, 'all arrive at both');
  assertSame(a.publications, b.publications, 'what both have seen');
  assertAscending(a.offsets());
  for (const letter of 'ab') {
    const own = a.texts().filter((text) => text.startsWith(letter));
    assert.deepEqual(own, Array.from({ length: 100 }, (_, n) => `${letter}${n}`), 'one client’s messages keep their order');
  }
});

test('history: both ways, with a limit, from a position, in pages', LIMIT, async () => {
  const { sub, publications } = await join(await newClient('Ada'), newRoom());
  await publish(sub, 1, 25);
  await eventually(() => publications.length === 25, 'all arrive');
  const texts = ({ publications: list }) => list.map((pub) => pub.data.text);

  const top = await sub.history();
  assert.deepEqual(top.publications, [], 'without a limit: the position alone');
  assert.equal(top.offset, publications[24].offset);
  const { epoch } = top;
  assert.ok(epoch);

  assert.deepEqual(texts(await sub.history({ limit: 10 })), range(1, 10));
  assert.deepEqual(texts(await sub.history({ limit: 10, reverse: true })), range(16, 25).reverse());
  assert.deepEqual(texts(await sub.history({ limit: 100 })), range(1, 25));

  const since = { offset: publications[9].offset, epoch }; // m10, exclusive in both directions
  assert.deepEqual(texts(await sub.history({ limit: 3, since })), range(11, 13));
  assert.deepEqual(texts(await sub.history({ limit: 3, since, reverse: true })), ['m9', 'm8', 'm7']);

  const paged = [];
  for (let position; ;) {
    const page = await sub.history({ limit: 7, reverse: true, ...(position && { since: position }) });
    if (page.publications.length === 0) break;
    paged.push(...texts(page));
    position = { offset: page.publications.at(-1).offset, epoch };
  }
  assert.deepEqual(paged, range(1, 25).reverse());

  const [first] = (await sub.history({ limit: 1 })).publications;
  assert.deepEqual(first, publications[0], 'history and live delivery say the same of a message');
});

test('history of a room that nobody wrote to', LIMIT, async () => {
  const { sub } = await join(await newClient('Ada'), newRoom());
  const { publications, offset, epoch } = await sub.history({ limit: 10, reverse: true });
  assert.deepEqual(publications, []);
  assert.equal(offset, 0);
  assert.ok(epoch);
});

test('presence and presence stats', LIMIT, async () => {
  const channel = newRoom();
  const [ada, ben] = [await newClient('Ada'), await newClient('Ben')];
  const a = await join(ada, channel);
  await join(ben, channel);
  const { clients: present } = await a.sub.presence();
  assert.deepEqual(Object.keys(present).sort(), [ada.id, ben.id].sort());
  assert.deepEqual(present[ben.id].connInfo, { name: 'Ben' });
  assert.equal(present[ben.id].client, ben.id);
  const stats = await a.sub.presenceStats();
  assert.equal(stats.numClients, 2);
  assert.equal(stats.numUsers, 2);
  ben.disconnect();
  await eventually(async () => (await a.sub.presenceStats()).numClients === 1, 'who left is gone');
});

test('unsubscribe stops delivery, subscribing again recovers what was missed', LIMIT, async () => {
  const channel = newRoom();
  const a = await join(await newClient('Ada'), channel);
  const b = await join(await newClient('Ben'), channel);
  await publish(b.sub, 1, 2);
  await eventually(() => a.publications.length === 2, 'delivery before');
  a.sub.unsubscribe();
  await publish(b.sub, 3, 5);
  await eventually(() => b.publications.length === 5, 'the other one goes on');
  await sleep(200);
  assert.deepEqual(a.texts(), range(1, 2));
  a.sub.subscribe();
  await eventually(() => a.publications.length === 5, 'the rest is recovered');
  assert.equal(a.subscribed[1].recovered, true);
  assertSame(a.publications, b.publications, 'what both have seen');
});

test('after a cut the missed publications arrive exactly once, in order, recovered', LIMIT, async () => {
  const channel = newRoom();
  const proxy = await Proxy.start(server.port);
  try {
    const a = await join(await newClient('Ada', proxy.socket), channel);
    const b = await join(await newClient('Ben'), channel);
    await publish(b.sub, 1, 10);
    await eventually(() => a.publications.length === 10, 'delivery before the cut');
    for (let cut = 1; cut <= 3; cut++) {
      proxy.cut();
      await eventually(() => a.sub.state === 'subscribing', 'the cut is noticed');
      await publish(b.sub, cut * 100, cut * 100 + 39);
      proxy.mend();
      const mended = publish(b.sub, cut * 100 + 40, cut * 100 + 59); // recovery meets live delivery
      await eventually(() => a.subscribed.length === cut + 1, 'subscribed again');
      await mended;
      await eventually(() => a.publications.length >= b.publications.length, 'the missed ones arrive');
      assert.equal(a.subscribed[cut].wasRecovering, true);
      assert.equal(a.subscribed[cut].recovered, true);
      assert.equal(a.subscribed[cut].streamPosition.epoch, a.subscribed[0].streamPosition.epoch);
      assertSame(a.publications, b.publications, 'what both have seen');
    }
    assertAscending(a.offsets());
  } finally {
    await proxy.close();
  }
});

test('a cut while others write without a pause: no gap, no double', LIMIT, async () => {
  const channel = newRoom();
  const proxy = await Proxy.start(server.port);
  try {
    const a = await join(await newClient('Ada', proxy.socket), channel);
    const b = await join(await newClient('Ben'), channel);
    let writing = true;
    const writer = (async () => {
      for (let n = 0; writing; n++) {
        await send(b.sub, { text: `m${n}`, pad: 'x'.repeat(200) });
      }
    })();
    for (let cut = 1; cut <= 4; cut++) {
      await sleep(150);
      proxy.cut();
      await sleep(60);
      proxy.mend();
      await eventually(() => a.subscribed.length > cut, 'subscribed again');
    }
    await sleep(100);
    writing = false;
    await writer;
    await eventually(() => a.publications.length >= b.publications.length, 'all arrive');
    assertSame(a.publications, b.publications, 'what both have seen');
    assert.ok(a.subscribed.slice(1).every((ctx) => ctx.recovered), 'every recovery was exact');
  } finally {
    await proxy.close();
  }
});

test('what the server refuses comes as an error with a code and a message', LIMIT, async () => {
  const client = await newClient('Ada');
  const { sub } = await join(client, newRoom());
  const refused = async (promise, code) => {
    const error = await promise.then(() => assert.fail('not refused'), (reason) => reason);
    assert.equal(error.code, code, JSON.stringify(error));
    assert.ok(error.message, 'an error’s message is never empty');
  };
  await refused(client.rpc('no.such.method', {}), 108);
  await refused(sub.publish({ type: 'edit', of: 1, text: 'not by a plain publish' }), 107);
  assert.equal(client.state, 'connected', 'a refused command costs nobody the connection');
});

// The last tests kill the server that all share.

test('kill -9 and restart: what was acknowledged is in history, clients recover by themselves', { timeout: 240_000 }, async () => {
  const channel = newRoom();
  const a = await join(await newClient('Ada'), channel);
  const b = await join(await newClient('Ben'), channel);
  const acked = [];
  let stopped = false;
  const writer = (async () => {
    for (let n = 0; !stopped; n++) {
      try {
        await b.sub.publish({ text: `m${n}` });
        acked.push(`m${n}`);
      } catch {
        await sleep(20); // the server is away: this one may or may not be stored
      }
    }
  })();
  for (let round = 1; round <= 3; round++) {
    const before = acked.length;
    await eventually(() => acked.length > before + 100, 'messages flow');
    await server.kill();
    await sleep(150);
    await server.restart();
    await eventually(() => a.subscribed.length > round && b.subscribed.length > round, 'both are back');
  }
  const before = acked.length;
  await eventually(() => acked.length > before + 50, 'messages flow again');
  stopped = true;
  await within(writer, 'the writer stops');

  const stored = [];
  let { epoch } = await a.sub.history();
  for (let since; ;) {
    const page = await a.sub.history({ limit: 500, ...(since && { since }) });
    if (page.publications.length === 0) break;
    stored.push(...page.publications);
    since = { offset: stored.at(-1).offset, epoch };
  }
  const texts = stored.map((pub) => pub.data.text);
  assert.equal(new Set(texts).size, texts.length, 'nothing is stored twice');
  const missing = acked.filter((text) => !new Set(texts).has(text));
  assert.deepEqual(missing, [], 'every acknowledged message is in history');
  await eventually(() => a.publications.length >= stored.length && b.publications.length >= stored.length, 'all arrive');
  assertSame(a.publications, stored, 'what was delivered is what is stored');
  assertSame(b.publications, stored, 'what the writer saw is what is stored');
  for (const seen of [a, b]) {
    assert.ok(seen.subscribed.slice(1).every((ctx) => ctx.wasRecovering && ctx.recovered), 'every recovery was exact');
    assert.equal(new Set(seen.subscribed.map((ctx) => ctx.streamPosition.epoch)).size, 1, 'the epoch outlives the process');
  }
});

test('a server whose data are lost says so: recovered false, another epoch', LIMIT, async () => {
  const channel = newRoom();
  const a = await join(await newClient('Ada'), channel);
  await publish(a.sub, 1, 3);
  await eventually(() => a.publications.length === 3, 'all arrive');
  await server.kill();
  server.wipe();
  await server.restart();
  await eventually(() => a.subscribed.length === 2, 'subscribed again');
  assert.equal(a.subscribed[1].wasRecovering, true);
  assert.equal(a.subscribed[1].recovered, false);
  assert.notEqual(a.subscribed[1].streamPosition.epoch, a.subscribed[0].streamPosition.epoch);
  await publish(a.sub, 4, 4);
  await eventually(() => a.publications.length === 4, 'and goes on');
});
