// The parts of the page that decide what is lost, doubled or out of order, without
// a browser: the timeline and the outbox, in the cases that are hard to bring about
// from outside.

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Outbox } from '../server/web/assets/outbox.js';
import { Timeline } from '../server/web/assets/timeline.js';
import { kindOf, timeOf, toMessage } from '../server/web/assets/message.js';

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
  timeline.change({ of: 1, offset: 9, text: 'first, edited twice' });
  timeline.change({ of: 1, offset: 8, text: 'first, edited once' });
  timeline.change({ of: 2, offset: 7, deleted: true });
  timeline.insert(said(1, 'first'));
  const [first, second] = timeline.messages();
  assert.deepEqual([first.text, first.edited], ['first, edited twice', true]);
  assert.deepEqual([second.text, second.deleted], ['', true]);
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

// An outbox whose connection is in the test's hand.
function outbox() {
  const line = { open: true, sent: [], box: undefined };
  line.box = new Outbox('room', {
    publish: (data) => new Promise((resolve, reject) => line.sent.push({ ...data, resolve, reject })),
    isOpen: () => line.open,
    changed: () => {},
  });
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
  assert.equal(line.box.take(line.sent[0].nonce).text, 'a');
  assert.equal(line.box.take(line.sent[0].nonce), undefined, 'a publication settles once');
  line.box.take(line.sent[1].nonce); // the publication may come before the reply
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
    line.box.take(line.sent[0].nonce);
    mock.timers.tick(10_000);
    assert.deepEqual(line.states(), []);
  } finally {
    mock.timers.reset();
  }
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
