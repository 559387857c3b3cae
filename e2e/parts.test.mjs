// The parts of the page that decide what is lost, doubled or out of order, without
// a browser: the timeline and the outbox, in the cases that are hard to bring about
// from outside.

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Outbox } from '../server/web/assets/outbox.js';
import { Timeline } from '../server/web/assets/timeline.js';
import { authorOf, kindOf, timeOf, toChange, toMessage } from '../server/web/assets/message.js';
import { cleanName, roomLabel } from '../server/web/assets/names.js';
import { outline } from '../server/web/assets/outline.js';
import { addresses, extentOf } from '../server/web/assets/text.js';

const said = (offset, text = `m${offset}`) => toMessage({ offset, data: { text }, info: { user: 'u', client: 'c' } });
const texts = (timeline) => timeline.messages().map((message) => message.text);

test('timeline: pages, recovery and live delivery may overlap in any order', () => {
  const timeline = new Timeline();
  for (const offset of [30, 31, 33, 32, 10, 31, 20, 30, 5, 34, 10]) timeline.insert(said(offset));
  assert.deepEqual(texts(timeline), ['m5', 'm10', 'm20', 'm30', 'm31', 'm32', 'm33', 'm34']);
  assert.equal(timeline.oldest, 5);
  assert.equal(timeline.newest, 34);
  timeline.trim(3);
  assert.deepEqual(texts(timeline), ['m32', 'm33', 'm34']);
  timeline.insert(said(31)); // history brings back what was trimmed
  assert.deepEqual(texts(timeline), ['m31', 'm32', 'm33', 'm34']);
});

test('timeline: the latest change wins, also when it is known before its message', () => {
  const timeline = new Timeline();
  timeline.insert(said(2, 'second'));
  const by = { id: 'u' };
  timeline.change({ of: 1, offset: 9, text: 'first, edited twice', deleted: false, by });
  timeline.change({ of: 1, offset: 8, text: 'first, edited once', deleted: false, by });
  timeline.change({ of: 2, offset: 7, deleted: true, by });
  timeline.insert(said(1, 'first'));
  const [first, second] = timeline.messages();
  assert.deepEqual([first.text, first.edited], ['first, edited twice', true]);
  assert.deepEqual([second.text, second.deleted], ['', true]);
});

// What a client may publish, and what a room may hold from before its server refused it:
// a deletion of another's message.
test('timeline: a message is changed by its author and the server, in whatever order that is heard', () => {
  const author = { user: 'u', client: 'c' };
  const message = (offset, info = author) => ({ offset, data: { text: 'as written' }, info });
  const edit = (offset, text, info = author) => ({ offset, data: { type: 'edit', of: 10, text }, info });
  const remove = (offset, info = author) => ({ offset, data: { type: 'delete', of: 10 }, info });
  const other = { user: 'v', client: 'd' };
  const cases = [
    { records: [message(10), remove(11, other), edit(12, 'owned', other)], text: 'as written', deleted: false },
    { records: [message(10), edit(11, 'mine'), edit(12, 'owned', other)], text: 'mine', deleted: false },
    { records: [message(10), edit(11, 'one'), edit(12, 'two')], text: 'two', deleted: false },
    { records: [message(10), remove(11), edit(12, 'back')], text: '', deleted: true },
    { records: [message(10), remove(11, undefined)], text: '', deleted: true },
    { records: [message(10, undefined), remove(11, other)], text: 'as written', deleted: false },
    { records: [message(10, {}), remove(11, {})], text: 'as written', deleted: false },
    { records: [message(10), remove(9), edit(10, 'before itself')], text: 'as written', deleted: false },
    { records: [message(10), { offset: 11, data: { type: 'edit', of: 10 }, info: author }], text: 'as written', deleted: false },
  ];
  for (const { records, text, deleted } of cases) {
    for (const order of [records, records.toReversed(), [...records.slice(1), records[0]]]) {
      const timeline = new Timeline();
      for (const pub of order) {
        if (kindOf(pub) === 'message') timeline.insert(toMessage(pub));
        if (kindOf(pub) === 'change') timeline.change(toChange(pub));
      }
      const [got, ...more] = timeline.messages();
      assert.deepEqual([got.text, got.deleted ?? false, more.length], [text, deleted, 0], JSON.stringify(order));
    }
  }
});

test('timeline: what strangers say of messages that are not loaded is bounded', () => {
  const timeline = new Timeline();
  for (let n = 0; n < 12_000; n++) timeline.change({ of: 1 + (n % 6000), offset: 10_000 + n, deleted: true, by: { id: `stranger ${n % 100}` } });
  timeline.change({ of: 7000, offset: 90_000, deleted: true, by: { id: 'u' } });
  timeline.insert(said(7000));
  assert.equal(timeline.messages()[0].deleted, true);
});

test('message: nothing that a stranger publishes can throw', () => {
  const odd = [null, undefined, 0, '', [], {}, { text: {} }, { text: 'x', nonce: 7 }, { type: 'edit', of: 'x' }, { type: 'delete' }, { toJSON: 1 }];
  for (const data of odd) {
    for (const info of [undefined, {}, { user: '' }, { connInfo: null }, { connInfo: { name: 5 } }, { connInfo: 'x' }]) {
      for (const offset of [1, undefined, 1.5]) {
        kindOf({ data, info, offset });
        const message = toMessage({ data, info, offset });
        assert.equal(typeof message.text, 'string');
        assert.ok(message.author.name, 'everybody has a name');
      }
    }
  }
  assert.equal(timeOf(1838529435424768), 1795438901782);
});

const nested = (levels) => JSON.parse('['.repeat(levels) + ']'.repeat(levels));

// A value of thousands of levels, which JSON.stringify makes into megabytes or an exception.
test('outline: some hundred characters of any value, at the price of these', () => {
  assert.equal(outline({ build: 7, ok: true, none: null, list: [1, 'two'] }), '{"build": 7, "ok": true, "none": null, "list": [1, "two"]}');
  assert.equal(outline([]), '[]');
  assert.equal(outline('x'), '"x"');
  const wide = Object.fromEntries(Array.from({ length: 5000 }, (_, n) => [`key ${n}`, n]));
  const deepObject = JSON.parse('{"a":'.repeat(20_000) + '1' + '}'.repeat(20_000));
  for (const value of [nested(3000), nested(30_000), deepObject, wide, Array(30_000).fill([]), { text: nested(5000) }, 'x'.repeat(60_000),
    { ['k'.repeat(60_000)]: 1 }, JSON.parse('{"__proto__":{"toString":1},"toJSON":2,"valueOf":null}')]) {
    const shown = outline(value);
    assert.ok(shown.length > 0 && shown.length < 600, `${shown.length} characters`);
    const message = toMessage({ offset: 5, data: typeof value === 'string' ? [value] : value, info: {} });
    assert.ok(message.text.length < 600);
  }
});

// Names that nobody sees, that reorder their line, that cover the lines around them.
test('names: what is shown of a name', () => {
  const cases = [
    ['  Ada   Lovelace ', 'Ada Lovelace'],
    ['\u200b', ''], ['\u3164', ''], ['\u2800 \u2800', ''], ['\u0301', ''], ['\u202e\u2066', ''], ['\ufeff\u00ad', ''],
    ['\u202eecilA', 'ecilA'], ['Al\u200bice', 'Alice'], ['A\u0000b\nc', 'A b c'],
    ['e' + '\u0301'.repeat(200), 'e\u0301\u0301\u0301'],
    ['👩‍👩‍👧', '👩‍👩‍👧'], ['می‌خواهم', 'می‌خواهم'], ['北京', '北京'], ['\ud800x', '\ufffdx'],
    ['x'.repeat(500), 'x'.repeat(64)], ['😀'.repeat(100), '😀'.repeat(64)],
    [5, ''], [null, ''], [{}, ''],
  ];
  for (const [name, shown] of cases) assert.equal(cleanName(name), shown, JSON.stringify(name));

  const of = (name, user = 'u1') => authorOf({ user, client: 'c1', connInfo: { name } });
  assert.deepEqual(of('\u200b'), { id: 'u1', name: 'u1' }, 'who has no name to be seen is called by the id');
  assert.equal(authorOf({ client: 'c1' }).name, 'c1');
  assert.ok(authorOf(undefined).server && !of('Server').server, 'the mark of the server is not its name');

  assert.equal(roomLabel('lobby'), 'lobby');
  assert.equal(roomLabel('lob\u200bby'), 'lob⟨200B⟩by');
  assert.equal(roomLabel('\u202eybbol'), '⟨202E⟩ybbol');
  assert.equal(roomLabel('\u0301'), '⟨0301⟩');
});

test('text: where a web address ends', () => {
  const cases = [
    ['请看https://example.com，谢谢', 'https://example.com'],
    ['https://zh.wikipedia.org/wiki/北京', 'https://zh.wikipedia.org/wiki/北京'],
    ['https://ja.wikipedia.org/wiki/ジョン・レノン。', 'https://ja.wikipedia.org/wiki/ジョン・レノン'],
    ['(see https://example.org/a_(b)).', 'https://example.org/a_(b)'],
    ['(https://example.org/c). http://', 'https://example.org/c'],
    ...[...'，。、」！；”’»،।…）】'].map((end) => [`https://example.org/x${end}ok`, 'https://example.org/x']),
    ['https://example.org/x\u200by', 'https://example.org/x'],
    ['https://example.org/x\u202egpj.exe', 'https://example.org/x'],
    ['`https://example.org/x`', 'https://example.org/x'],
    ['https://example.org/x\u00a0y', 'https://example.org/x'],
    ['https://a.example、https://b.example', 'https://a.example', 'https://b.example'],
    ['**https://example.org/x**', 'https://example.org/x'],
    // What stands within words of other scripts, and in titles.
    ['https://en.wikipedia.org/wiki/Michelson–Morley_experiment – here', 'https://en.wikipedia.org/wiki/Michelson–Morley_experiment'],
    ['https://example.org/x–', 'https://example.org/x'],
    ['https://example.org/x—see', 'https://example.org/x'],
    ['https://he.wikipedia.org/wiki/צה״ל', 'https://he.wikipedia.org/wiki/צה״ל'],
    ['https://bo.wikipedia.org/wiki/བོད་སྐད', 'https://bo.wikipedia.org/wiki/བོད་སྐད'],
    // Brackets that are its own, and those around it.
    ['https://example.org/a[1] https://[::1]', 'https://example.org/a[1]', 'https://[::1]'],
    ['[https://example.org/{id}], {https://example.org/x}.', 'https://example.org/{id}', 'https://example.org/x'],
    ['https://example.org/a?q=1&r=<x>', 'https://example.org/a?q=1&r='],
    ['javascript:alert(1) https:// http://? nothttps://x.example'],
  ];
  for (const [text, ...want] of cases) assert.deepEqual([...addresses(text)].map(({ address }) => address), want, text);
  // 60,000 characters that a naive loop goes over once for each of them.
  for (const tail of [')', '.', ').', '(', '(.)', ']', '}]).']) {
    assert.ok([...addresses(`https://example.org/${tail.repeat(20_000)}x${tail.repeat(20_000)}`)].length === 1);
  }
});

test('text: what is long, and how much of it is shown at first', () => {
  const long = (text) => extentOf(text).long;
  assert.ok(!long('x'.repeat(2000)) && !long('a\nb\nc'));
  assert.ok(long('\n'.repeat(50)) && long('字'.repeat(4000)) && long('😀'.repeat(2000)) && long('\u2028'.repeat(50)));
  assert.ok(long('%'.repeat(2000)) && long('W'.repeat(2000)), 'wide ones of Latin');
  assert.equal(extentOf('字'.repeat(4000)).kept, 4000, 'what can be typed is all in the page');
  for (const text of ['a\n'.repeat(4000), '\n'.repeat(30_000), 'x'.repeat(60_000), `x${'😀'.repeat(20_000)}`, 'e' + '\u0301'.repeat(30_000)]) {
    const { kept } = extentOf(text);
    assert.ok(kept > 0 && kept <= 6000);
    assert.ok(text.slice(0, kept).isWellFormed(), 'no half of a pair');
  }
});

// An outbox whose connection is in the test's hand.
function outbox() {
  const line = { open: true, sent: [], shown: [], box: undefined };
  line.box = new Outbox('room', {
    publish: (data, key) => new Promise((resolve, reject) => line.sent.push({ ...data, key, resolve, reject })),
    isOpen: () => line.open,
    isShown: (offset) => line.shown.includes(offset),
    changed: () => {},
  });
  line.settle = (n) => line.box.settle({ nonce: line.sent[n].nonce, offset: 1000 + n, own: true });
  line.states = () => line.box.entries().map((entry) => `${entry.text} ${entry.state}`);
  return line;
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('outbox: sends in the order of typing, one after the other, and waits while there is no connection', async () => {
  const line = outbox();
  line.open = false;
  ['a', 'b', 'c'].forEach((text) => line.box.add(text));
  assert.deepEqual(line.states(), ['a waiting', 'b waiting', 'c waiting']);
  assert.equal(line.sent.length, 0);
  line.open = true;
  line.box.opened();
  await turn();
  assert.deepEqual(line.states(), ['a sending', 'b waiting', 'c waiting']);
  line.sent[0].resolve();
  await turn();
  assert.deepEqual(line.states(), ['a acked', 'b sending', 'c waiting']);
  assert.equal(line.settle(0).text, 'a');
  assert.equal(line.settle(0), undefined, 'a publication settles once');
  line.settle(1); // the publication may come before the reply
  line.sent[1].resolve();
  await turn();
  assert.deepEqual(line.states(), ['c sending']);
});

test('outbox: a connection that breaks leaves a doubt, never a loss and never a second sending', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const line = outbox();
    ['a', 'b', 'c'].forEach((text) => line.box.add(text));
    await turn();
    line.open = false;
    line.sent[0].reject({ code: 11, message: 'connection closed' });
    await turn();
    assert.deepEqual(line.states(), ['a unsure', 'b waiting', 'c waiting']);

    line.open = true;
    line.box.opened();
    await turn();
    assert.deepEqual(line.sent.map((each) => each.text), ['a', 'b'], 'a is not sent again by itself');
    mock.timers.tick(3000);
    assert.deepEqual(line.states(), ['a failed', 'b sending', 'c waiting'], 'after the grace period the person decides');

    line.box.retry(line.sent[0].nonce);
    assert.deepEqual(line.states(), ['b sending', 'c waiting', 'a waiting']);
    line.sent[1].resolve();
    await turn();
    line.sent[2].resolve();
    await turn();
    assert.deepEqual(line.sent.map((each) => each.text), ['a', 'b', 'c', 'a']);
    assert.equal(line.sent[3].nonce, line.sent[0].nonce, 'the same message, so that a late publication settles it too');
  } finally {
    mock.timers.reset();
  }
});

test('outbox: a publication that recovery brings settles the doubt', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const line = outbox();
    line.box.add('a');
    await turn();
    line.sent[0].reject({ code: 1, message: 'timeout' });
    await turn();
    assert.deepEqual(line.states(), ['a unsure']);
    line.settle(0);
    mock.timers.tick(10_000);
    assert.deepEqual(line.states(), []);
  } finally {
    mock.timers.reset();
  }
});

test('outbox: what the server had before under the same key is not shown twice', async () => {
  const line = outbox();
  line.box.add('a');
  await turn();
  assert.equal(line.sent[0].key, line.sent[0].nonce, 'the key goes with the message');
  line.shown = [77]; // another tab's publication, with a nonce of ours but not our connection
  assert.equal(line.box.settle({ nonce: line.sent[0].nonce, offset: 77, own: false }), undefined, 'a nonce can be copied');
  line.sent[0].resolve(77);
  await turn();
  assert.deepEqual(line.states(), [], 'the answer says that it is there');
  line.box.add('b');
  await turn();
  line.sent[1].resolve(78);
  await turn();
  assert.deepEqual(line.states(), ['b acked']);
  assert.equal(line.box.settle({ nonce: '', offset: 78, own: false }).text, 'b', 'the offset tells as well');
});

test('outbox: what the server refuses', async () => {
  const cases = [
    { error: { code: 103, message: 'permission denied' }, state: 'failed' },
    { error: { code: 107, message: 'bad request' }, state: 'failed' },
    { error: { code: 106, message: 'limit exceeded' }, state: 'failed' },
    { error: { code: 100, message: 'internal error', temporary: true }, state: 'unsure' },
    { error: { code: 3, message: 'client disconnected' }, state: 'waiting' },
    { error: { code: 7, message: 'unsubscribed' }, state: 'waiting' },
    { error: { code: 10, message: 'transport write error' }, state: 'unsure' },
    { error: undefined, state: 'unsure' },
  ];
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    for (const { error, state } of cases) {
      const line = outbox();
      line.box.add('a');
      await turn();
      line.sent[0].reject(error);
      await turn();
      assert.deepEqual(line.states(), [`a ${state}`], JSON.stringify(error));
      line.box.discard(line.sent[0].nonce);
      assert.deepEqual(line.states(), []);
    }
    const line = outbox();
    line.box.add('a');
    line.box.add('b');
    await turn();
    line.sent[0].reject({ code: 111, message: 'too many requests', temporary: true });
    await turn();
    assert.deepEqual(line.states(), ['a waiting', 'b waiting']);
    mock.timers.tick(1000);
    await turn();
    assert.deepEqual(line.sent.map((each) => each.text), ['a', 'a'], 'slowed down, it keeps its place');
  } finally {
    mock.timers.reset();
  }
});
