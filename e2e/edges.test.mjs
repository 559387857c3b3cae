// The edges of the chat page, in a real browser: names, stores, tabs, input methods,
// proxies and rooms that are legal and rare.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { CHROMIUM, launch, Line, PHONE, Visitor } from './browser.mjs';
import { connect, eventually, freePort, join, makeToken, send, Server, within } from './harness.mjs';

if (!CHROMIUM && process.env.CI === 'true') throw new Error('no Chromium: the tests of the page can not be left out with CI=true');

const LIMIT = { timeout: 600_000, skip: CHROMIUM ? false : 'no Chromium here' };
const NGINX = ['/usr/sbin/nginx', '/usr/bin/nginx', '/usr/local/sbin/nginx'].find(existsSync);

let server;
let browser;
const clients = [];

before(async () => {
  if (!CHROMIUM) return;
  server = await Server.start({ env: { HUBBUB_API_KEY: 'key-for-these-tests' } });
  browser = await launch();
}, { timeout: 120_000 });

after(async () => {
  clients.forEach((client) => client.disconnect());
  await browser?.close();
  await server?.close();
}, { timeout: 120_000 });

const visitor = (name, options) => Visitor.come(browser, server.page, name, options);

async function sdkClient(name, channel) {
  const client = await connect(server.socket, name);
  clients.push(client);
  return join(client, channel);
}

async function api(method, body) {
  const reply = await fetch(`${server.page}api/${method}`, {
    method: 'POST', headers: { 'X-API-Key': 'key-for-these-tests', 'Content-Type': 'application/json' }, body: JSON.stringify(body),
  });
  assert.equal(reply.status, 200);
  return (await reply.json()).result;
}

async function storedTexts(sub) {
  const { publications } = await within(sub.history({ limit: 500 }), 'history');
  return publications.map((pub) => pub.data.text);
}

async function leave(...people) {
  for (const person of people) {
    assert.deepEqual(await person.complaints(), [], `${person.name}’s page kept its rules`);
    await person.context.close();
  }
}

const works = async (person, text) => {
  await person.say(text);
  await person.sees(text);
};

test('rooms named like what every object has can be used, and a list that has them starts', LIMIT, async () => {
  const ada = await visitor('Ada', { room: 'constructor' });
  const names = [...Object.getOwnPropertyNames(Object.prototype), 'prototype', 'subs'].filter((name) => name !== 'hasOwnProperty');
  for (const name of names) {
    await ada.page.evaluate((hash) => { location.hash = hash; }, name);
    await ada.page.locator('#room-name', { hasText: name }).waitFor();
    await works(ada, `said in ${name}`);
  }
  const { publications } = await api('history', { channel: 'valueOf', limit: 10 });
  assert.deepEqual(publications.map((pub) => pub.data.text), ['said in valueOf'], 'it is the room of that name on the server');

  await ada.page.fill('#join-name', 'hasOwnProperty'); // the one name the SDK can not keep
  await ada.page.press('#join-name', 'Enter');
  await ada.page.locator('#join-hint', { hasText: 'will not do' }).waitFor();
  await ada.page.evaluate(() => { // half a pair, which a test can not type
    document.getElementById('join-hint').textContent = '';
    document.getElementById('join-name').value = '\ud800';
    document.getElementById('join').requestSubmit();
  });
  await ada.page.locator('#join-hint', { hasText: 'will not do' }).waitFor();
  await ada.page.evaluate(() => { location.hash = 'hasOwnProperty'; });
  await ada.page.locator('#room-name', { hasText: 'lobby' }).waitFor();
  const stored = await ada.page.evaluate(() => localStorage['hubbub.rooms']);
  assert.doesNotMatch(stored, /hasOwnProperty/);

  await ada.page.evaluate(() => { localStorage['hubbub.rooms'] = '["constructor","hasOwnProperty","__proto__","ok"]'; });
  await ada.page.reload();
  await ada.connected();
  assert.deepEqual(await ada.page.locator('#room-list .room-label').allTextContents(), ['constructor', '__proto__', 'ok', 'lobby']);
  await works(ada, 'after a reload');
  await leave(ada);
});

test('a browser that stores nothing, or is full, has a page without a memory', LIMIT, async () => {
  const forbidden = () => {
    for (const name of ['localStorage', 'sessionStorage']) {
      Object.defineProperty(window, name, { get() { throw new DOMException('denied', 'SecurityError'); } });
    }
  };
  const full = () => { Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }; };
  for (const script of [forbidden, full]) {
    const ada = await visitor('Ada', { room: 'forgetful', prepare: (_, page) => page.addInitScript(script) });
    await works(ada, `with ${script.name} storage`);
    await leave(ada);
  }
});

test('a stored value of a wrong type is as good as none', LIMIT, async () => {
  const ada = await visitor('Ada', { room: 'types' });
  for (const value of ['null', '{}', '"x"', '5', '[null]', '[[]]', '[{}]', '{"length":3}', 'true', '', '{']) {
    await ada.page.evaluate((text) => {
      for (const key of ['rooms', 'clients', 'name']) localStorage[`hubbub.${key}`] = text;
      for (const key of ['outbox types', 'outbox lobby', 'token']) sessionStorage[`hubbub.${key}`] = text;
    }, value);
    await ada.page.reload();
    const name = await eventually(() => ada.page.evaluate(() => (
      document.getElementById('profile').open ? 'asked' : document.getElementById('me-name').textContent)), `a page, with ${value}`);
    if (name === 'asked') await ada.answer();
    else assert.equal(name, 'x', 'the one value that is a name');
    await ada.connected();
    await works(ada, `with (${value})`);
  }
  await leave(ada);
});

test('the Enter that ends a word of an input method does not send', LIMIT, async () => {
  const ada = await visitor('Ada', { room: 'input methods' });
  const { page } = ada;
  await page.fill('#text', 'にほん');
  const press = (init) => page.evaluate((how) => {
    const event = new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true, ...how });
    document.getElementById('text').dispatchEvent(event);
    return event.defaultPrevented;
  }, init);
  assert.equal(await press({ keyCode: 229 }), false, 'as Safari sends it, after compositionend');
  assert.equal(await press({ keyCode: 13, isComposing: true }), false, 'as the others do');
  assert.equal(await page.inputValue('#text'), 'にほん');
  assert.equal(await press({ keyCode: 13 }), true);
  await ada.sees('にほん');
  assert.equal((await ada.messages()).length, 1);
  await leave(ada);
});

test('pages of history that are short for their bytes are not the beginning', LIMIT, async () => {
  const { sub } = await sdkClient('robot', 'pages');
  const all = Array.from({ length: 60 }, (_, n) => `${n} ${'字'.repeat(4000)}`); // 12 KB each, a page has 512 KiB
  for (const text of all) await send(sub, { text });
  const ada = await visitor('Ada', { room: 'pages' });
  await ada.sees(all.at(-1));
  const scroller = ada.page.locator('#scroller');
  await eventually(async () => {
    await scroller.evaluate((element) => { element.scrollTop = 0; });
    const [opened, texts] = await ada.page.evaluate(() => [
      !document.getElementById('opening').hidden, [...document.querySelectorAll('.message .text')].map((each) => each.textContent.slice(0, 3)),
    ]);
    if (opened) assert.equal(texts.length, 60, 'the beginning is above the oldest');
    return opened;
  }, 'the beginning is reached', { every: 100 });
  assert.deepEqual(await ada.texts(), all);
  await leave(ada);
});

test('a duplicated tab does not send what the first one has yet to send', LIMIT, async () => {
  const { sub } = await sdkClient('robot', 'twice');
  let line;
  const ada = await visitor('Ada', { room: 'twice', prepare: async (context) => { line = await Line.of(context); } });
  await works(ada, 'before');
  line.cut();
  await ada.disconnected();
  await ada.say('waiting, when the tab was duplicated');
  await ada.page.locator('.message[data-state="waiting"]').waitFor();
  const copy = await ada.duplicate();
  await copy.page.locator('.message[data-state="held"]').waitFor();
  line.mend();
  await Promise.all([ada.connected(), copy.connected()]);
  for (const each of [ada, copy]) {
    await each.sees('waiting, when the tab was duplicated');
    await works(each, `another by ${each.name}`);
    await eventually(async () => (await each.messages()).every((m) => m.state === 'settled'), 'nothing is left to send');
  }
  await copy.page.reload();
  await copy.sees(`another by ${copy.name}`);
  const expected = ['before', 'waiting, when the tab was duplicated', `another by ${ada.name}`, `another by ${copy.name}`];
  assert.deepEqual(await storedTexts(sub), expected);
  assert.deepEqual(await copy.texts(), expected);

  // The first tab goes with its message unsent: the copy has it, and may send it.
  line.cut();
  await ada.disconnected();
  await ada.say('waiting, when the tab was closed');
  await ada.page.locator('.message[data-state="waiting"]').waitFor();
  const heir = await ada.duplicate();
  await heir.page.locator('.message[data-state="held"]').waitFor();
  await ada.page.close();
  line.mend();
  await heir.connected();
  await eventually(async () => {
    const retry = heir.page.locator('.message[data-state="failed"] .retry'); // offered, when the machine is slow
    if (await retry.count() > 0) await retry.first().click({ timeout: 1000 }).catch(() => {});
    return (await heir.messages()).at(-1).state === 'settled';
  }, 'the copy has sent it');
  assert.deepEqual(await storedTexts(sub), [...expected, 'waiting, when the tab was closed']);
  await copy.page.close();
  await leave(heir);
});

test('who is who: the server, people of one name, names that nobody sees', LIMIT, async () => {
  const ada = await visitor('Alice', { room: 'names' });
  const other = await sdkClient('Alice', 'names');
  const names = ['Server', '\u200b', '\u202eecilA', `e${'\u0301'.repeat(300)}`, 'system'];
  for (const name of names) {
    const { sub } = await sdkClient(name, 'names');
    await send(sub, { text: `I am ${names.indexOf(name)}` });
  }
  await send(other.sub, { text: 'I am another Alice' });
  await works(ada, 'I am Alice');
  await api('publish', { channel: 'names', data: { text: 'said by the server' } });
  await ada.sees('said by the server');
  const rows = await ada.page.$$eval('#transcript > .message', (all) => all.map((row) => ({
    text: row.querySelector('.text').textContent,
    name: row.querySelector('.author').textContent,
    id: row.querySelector('.author').title,
    hue: row.querySelector('.avatar').style.getPropertyValue('--hue'),
    system: !row.querySelector('.system').hidden,
    initials: row.querySelector('.avatar').textContent,
  })));
  const by = (text) => rows.find((row) => row.text === text);
  assert.deepEqual(rows.filter((row) => row.system).map((row) => row.text), ['said by the server'], 'no name makes the mark of the server');
  assert.equal(by('said by the server').initials, '', 'nor its face');
  assert.equal(by('I am 0').name, 'Server');
  assert.match(by('I am 1').name, /^guest-/, 'a name that nobody sees is the user’s id');
  assert.equal(by('I am 2').name, 'ecilA');
  assert.equal(by('I am 3').name.length, 4);
  const [one, two] = [by('I am Alice'), by('I am another Alice')];
  assert.equal(one.name, two.name);
  assert.notEqual(one.id, two.id, 'two people');
  const listed = await eventually(async () => {
    const all = await ada.page.$$eval('#people-list li', (items) => items.map((item) => item.textContent));
    return all.length === 7 && all.filter((text) => text.includes('Alice'));
  }, 'all are listed');
  assert.equal(new Set(listed).size, 2, 'and can be told apart');
  await ada.snapshot('names');
  await leave(ada);
});

test('a message that is long is shown in part, and all of it on demand', LIMIT, async () => {
  const { sub } = await sdkClient('robot', 'long ones');
  const long = [
    'line\n'.repeat(4000), '\n'.repeat(30_000), 'x'.repeat(30_000), '😀'.repeat(8000),
    `https://example.org/${'a'.repeat(20_000)}`, `z${'\u0301'.repeat(10_000)}`, '\u2028'.repeat(5000), '🌈'.repeat(19),
  ];
  for (const text of long) await send(sub, { text });
  await send(sub, { text: 'short' });
  for (const options of [{}, PHONE]) {
    const ada = await visitor('Ada', { room: 'long ones', ...options });
    await ada.sees('short');
    const { page } = ada;
    const rows = page.locator('#transcript > .message');
    await eventually(async () => await rows.count() > long.length, 'all are there');
    const heights = await rows.evaluateAll((all) => all.map((row) => row.getBoundingClientRect().height));
    assert.ok(heights.every((height) => height < 700), `heights ${heights}`);
    assert.ok(await page.evaluate(() => document.querySelector('#scroller').scrollWidth - document.querySelector('#scroller').clientWidth) <= 0, 'nothing sticks out sideways');
    await ada.snapshot(options === PHONE ? 'long-phone' : 'long');
    const first = rows.first();
    await first.locator('.more').click();
    assert.equal((await first.locator('.text').textContent()).length, long[0].length, 'all of it');
    assert.ok(await first.evaluate((row) => row.getBoundingClientRect().height < innerHeight * 1.5), 'in a box of its own');
    assert.equal(await first.locator('.more').textContent(), 'Show less');
    await first.locator('.more').click();
    assert.ok((await first.locator('.text').textContent()).length < 1000);
    assert.equal(await rows.nth(4).locator('a').count(), 0, 'half an address is no link');
    await works(ada, 'still at work');
    await leave(ada);
  }
});

test('behind a path of a proxy', { ...LIMIT, skip: LIMIT.skip || (NGINX ? false : 'no nginx here') }, async () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'hubbub-e2e-nginx-'));
  const port = await freePort();
  writeFileSync(path.join(directory, 'nginx.conf'), `
daemon off; master_process off; pid nginx.pid; error_log stderr;
events {}
http {
  access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {
    listen 127.0.0.1:${port};
    location /chat/ {
      proxy_pass http://127.0.0.1:${server.port}/;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
    }
  }
}`);
  const nginx = spawn(NGINX, ['-p', directory, '-c', path.join(directory, 'nginx.conf'), '-e', 'stderr'], { stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = once(nginx, 'exit');
  try {
    await eventually(() => fetch(`http://127.0.0.1:${port}/chat/`).then((reply) => reply.ok), 'nginx answers');
    const ada = await Visitor.come(browser, `http://127.0.0.1:${port}/chat/`, 'Ada', { room: 'under a path' });
    assert.equal(await ada.page.evaluate(() => getComputedStyle(document.querySelector('.app')).display), 'grid', 'it has its styles');
    await works(ada, 'through the proxy');
    await leave(ada);
  } finally {
    nginx.kill('SIGTERM');
    await ended;
    rmSync(directory, { recursive: true, force: true });
  }
});

test('where a token is needed the page says so, and takes one for the tab alone', LIMIT, async () => {
  const KEY = 'hs256:a-key-for-the-tests-of-the-page-only';
  const closed = await Server.start({ env: { HUBBUB_TOKEN_KEY: KEY } });
  try {
    const context = await browser.newContext();
    const page = await context.newPage();
    const errors = [];
    page.on('pageerror', (error) => errors.push(error.message));
    await page.goto(`${closed.page}#staff`);
    await page.fill('#profile-name', 'Ada');
    await page.keyboard.press('Enter');
    await page.locator('#pass:visible').waitFor();
    assert.ok(await page.locator('#loading').isHidden(), 'nothing is promised');
    assert.ok(await page.locator('#text').isDisabled());
    await page.screenshot({ path: path.join(import.meta.dirname, 'out', 'token.png') });

    const give = async (token) => {
      await page.fill('#pass-token', token);
      await page.press('#pass-token', 'Enter');
    };
    await give('not a token');
    await page.locator('#pass-hint', { hasText: 'not a token' }).waitFor();
    await give(await makeToken('hs256:another-key-of-the-length-it-takes', '--user', 'ada'));
    await page.locator('#pass-hint', { hasText: 'was not taken' }).waitFor();
    assert.equal(await page.evaluate(() => sessionStorage['hubbub.token']), undefined, 'what was refused is forgotten');
    const token = await makeToken(KEY, '--user', 'ada', '--info', '{"name":"Ada L."}');
    await give(`  ${token.slice(0, 30)}\n${token.slice(30)} `); // as a mail program breaks it
    await page.locator('#link-state[data-state="connected"]').waitFor({ state: 'attached' });
    await page.locator('#pass').waitFor({ state: 'hidden' });
    const say = async (text) => {
      await page.fill('#text', text);
      await page.press('#text', 'Enter');
      await page.locator('.message[data-state="settled"]', { hasText: text }).waitFor();
    };
    await say('with a token');
    assert.equal(await page.locator('.author').first().textContent(), 'Ada L.');
    await page.reload();
    await say('after a reload');
    const [address, local] = await page.evaluate(() => [location.href, JSON.stringify(localStorage)]);
    assert.ok(!address.includes(token) && !local.includes(token), 'neither in the address nor kept beyond the tab');

    const another = await context.newPage();
    await another.goto(closed.page);
    await another.locator('#pass:visible').waitFor();
    assert.deepEqual(errors, []);
    await context.close();
  } finally {
    await closed.close();
  }
});

test('who comes and goes is pushed, not waited for', LIMIT, async () => {
  let line;
  const ada = await visitor('Ada', { room: 'door', prepare: async (context) => { line = await Line.of(context); } });
  const ben = await visitor('Ben', { room: 'door' });
  await ada.page.locator('#people-list li', { hasText: 'Ben' }).waitFor();
  await eventually(() => line.heard.filter((kind) => kind === 'join door').length === 2, 'both joins have come'); // its own first
  await ben.context.close();
  await eventually(() => line.heard.includes('leave door'), 'and the leave');
  await eventually(async () => await ada.page.locator('#people-list li').count() === 1, 'who left is gone');
  await leave(ada);
});

test('a room whose history is not for the reader is a room all the same', LIMIT, async () => {
  const closed = await Server.start({ config: { default: { history: 'nobody' } } });
  try {
    const ada = await Visitor.come(browser, closed.page, 'Ada', { room: 'forgetful' });
    await works(ada, 'said and seen');
    assert.match(await ada.page.locator('#opening').textContent(), /is not shown to you/);
    await leave(ada);
  } finally {
    await closed.close();
  }
});
