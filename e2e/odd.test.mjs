// The page is fed what nobody would send: odd publications, live and in history, names,
// stored values and addresses, drawn from a seed. It must survive each, keep its rules,
// and send and show a normal message afterwards.
//
//   HUBBUB_SEED=N     plays the same again (the seed of a run is printed)
//   HUBBUB_ROUNDS=N   how many loads of the page, 8 where it is not set

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { CHROMIUM, launch, Line, Visitor } from './browser.mjs';
import { eventually, Server } from './harness.mjs';

if (!CHROMIUM && process.env.CI === 'true') throw new Error('no Chromium: the tests of the page can not be left out with CI=true');

const SEED = Number(process.env.HUBBUB_SEED || Math.floor(Math.random() * 2 ** 31));
const ROUNDS = Number(process.env.HUBBUB_ROUNDS || 8);

// mulberry32: small, and the same everywhere.
let state = SEED;
function random() {
  state = (state + 0x6D2B79F5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const below = (n) => Math.floor(random() * n);
const oneOf = (list) => list[below(list.length)];

const WORDS = [
  'constructor', '__proto__', 'toString', 'hasOwnProperty', 'valueOf', 'undefined', 'null', 'then', 'length', 'text', 'type', 'of', 'nonce', 'name',
  '', ' ', '\u200b', '\u202e', '\u2066x', '\u3164', '\u2028', '\n', '\0', '\ud800', '\udc00x', 'e\u0301\u0301', '👩‍👩‍👧', '🇩🇪', 'می‌خواهم', '北京', '#', '%', '%ff', '<b>', '${1}',
  'https://example.com，x', 'https://[', 'javascript:alert(1)', 'lobby', '$team', '@a,b', 'a/b', '../x', '1e999',
];

function word() {
  switch (below(8)) {
    case 0: return oneOf(WORDS) + oneOf(WORDS);
    case 1: return oneOf(WORDS).repeat(1 + below(3000));
    case 2: return oneOf(['\n', 'x', '字', '😀', '\u0301', ')', '.', 'https://a.b/']).repeat(1 + below(20_000));
    default: return oneOf(WORDS);
  }
}

// json draws a JSON text: not a value, because some of it no JSON.stringify would write.
function json(levels = 4) {
  const end = levels === 0;
  switch (below(end ? 5 : 12)) {
    case 0: return oneOf(['null', 'true', 'false']);
    case 1: return oneOf(['0', '-1', '1.5', '1e300', '9007199254740993', '-0']);
    case 2: case 3: case 4: return JSON.stringify(word());
    case 5: {
      const depth = 1 + below(oneOf([20, 5000, 12_000]));
      return oneOf([() => '['.repeat(depth) + ']'.repeat(depth), () => '{"a":'.repeat(depth) + '1' + '}'.repeat(depth)])();
    }
    case 6: case 7: return `[${Array.from({ length: below(5) }, () => json(levels - 1)).join(',')}]`;
    default: return `{${Array.from({ length: below(5) }, () => `${JSON.stringify(word())}:${json(levels - 1)}`).join(',')}}`;
  }
}

function data(offsets) {
  const of = oneOf([() => oneOf(offsets) ?? 1, () => json(1)])();
  const text = oneOf([() => JSON.stringify(word()), () => json(2)])();
  switch (below(4)) {
    case 0: return `{"text":${text},"nonce":${json(1)}}`;
    case 1: return `{"type":${oneOf(['"edit"', '"delete"', '"react"', '"typing"', '"read"', json(1)])},"of":${of},"text":${text},"emoji":${json(1)}}`;
    default: return json();
  }
}

const info = () => oneOf([
  () => 'null', () => '{}', () => json(2),
  () => `{"user":${JSON.stringify(word())},"client":${JSON.stringify(word())},"conn_info":{"name":${json(1)}}}`,
  () => `{"user":"mallory","client":"m-1","conn_info":${json(2)}}`,
])();

// publication draws one with an offset that the room has not seen, and sometimes with none.
let drawn = 0;
function publication(offsets) {
  const offset = (Date.now() - 60_000) * 1024 + ++drawn;
  const known = below(8) > 0;
  const text = `{"data":${data(offsets)},"info":${info()}${known ? `,"offset":${offset}` : ''}}`;
  if (known) offsets.push(offset);
  return text;
}

const KEYS = { local: ['rooms', 'clients', 'name', 'other'], session: ['outbox lobby', 'token'] };
const entry = () => `{"nonce":${json(0)},"text":${json(0)},"at":${json(0)},"state":${json(0)}}`;
const storable = (key) => oneOf([
  () => json(2), () => oneOf(['', '{', 'x', 'undefined', '[null]', '{}', '5', '"x"', 'null']),
  () => (key.startsWith('outbox') ? `[${entry()},${entry()},null]` : `[${json(0)},${json(0)}]`),
])();

const hash = () => oneOf([() => encodeURIComponent(word().toWellFormed()), () => word(), () => oneOf(WORDS)])().slice(0, 2000);

let server;
let browser;

before(async () => {
  if (!CHROMIUM) return;
  server = await Server.start();
  browser = await launch();
}, { timeout: 120_000 });

after(async () => {
  await browser?.close();
  await server?.close();
}, { timeout: 120_000 });

test(`odd publications, names, stored values and addresses (HUBBUB_SEED=${SEED})`, { timeout: 900_000, skip: CHROMIUM ? false : 'no Chromium here' }, async () => {
  let line;
  const ada = await Visitor.come(browser, server.page, 'Ada', { prepare: async (context) => { line = await Line.of(context); } });
  const { page } = ada;
  const offsets = [];
  let said = 0;

  const inLobby = async () => {
    await page.evaluate(() => { location.hash = 'lobby'; });
    await page.locator('#room-name', { hasText: /^lobby$/ }).waitFor();
  };
  const works = async (what) => {
    const text = `normal ${++said}`;
    await ada.say(text);
    await ada.sees(text).catch((error) => { throw new Error(`after ${what.slice(0, 2000)}: ${error.message}`); });
    assert.deepEqual(await ada.complaints(), [], `after ${what.slice(0, 2000)}`);
  };

  for (let round = 0; round < ROUNDS; round++) {
    const live = Array.from({ length: 8 }, () => publication(offsets));
    for (const pub of live) line.push('lobby', pub);
    await works(live.join('\n'));
    const tall = await page.$$eval('#transcript > .message', (rows) => Math.max(...rows.map((row) => row.getBoundingClientRect().height)));
    // What is not shown in part has 40 lines, about, and who says it.
    assert.ok(tall < 1100, `a message of ${tall} pixels, after ${live.join('\n').slice(0, 2000)}`);
    assert.ok(await page.$eval('#scroller', (each) => each.scrollWidth <= each.clientWidth), 'nothing sticks out sideways');

    const places = [hash(), hash()];
    for (const place of places) {
      await page.evaluate((text) => { location.hash = text; }, place);
      await eventually(() => page.locator('#room-name').textContent(), 'there is a room');
    }
    const typed = word();
    await page.evaluate((text) => {
      document.getElementById('join-name').value = text;
      document.getElementById('join').requestSubmit();
    }, typed);
    await inLobby();
    await works(JSON.stringify([places, typed]));

    const stored = Object.entries(KEYS).flatMap(([area, keys]) => keys.map((key) => [`${area}Storage`, `hubbub.${key}`, storable(key)]));
    await page.evaluate((values) => values.forEach(([area, key, value]) => window[area].setItem(key, value)), stored);
    line.inHistory = Array.from({ length: 6 }, () => publication(offsets));
    const history = line.inHistory.join('\n');
    await page.reload();
    await eventually(async () => await page.locator('#profile[open]').count() > 0
      || await page.locator('#link-state[data-state="connected"]').count() > 0, `the page starts with ${JSON.stringify(stored).slice(0, 2000)}`);
    if (await page.locator('#profile[open]').count() > 0) await ada.answer();
    await ada.connected();
    await inLobby();
    await works(JSON.stringify(stored) + history);
  }
  await ada.context.close();
});
