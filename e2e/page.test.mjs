// The chat page in a real browser, against a real server that is killed under it.

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { CHROMIUM, DESKTOP, launch, PHONE, Visitor } from './browser.mjs';
import { connect, eventually, join, send, Server, sleep, within } from './harness.mjs';

if (!CHROMIUM && process.env.CI === 'true') throw new Error('no Chromium: the tests of the page can not be left out with CI=true');

const LIMIT = { timeout: 600_000, skip: CHROMIUM ? false : 'no Chromium here' };

let server;
let browser;
const visitors = [];
const clients = [];

before(async () => {
  if (!CHROMIUM) return;
  server = await Server.start();
  browser = await launch();
}, { timeout: 120_000 });

// A test that failed between a kill and a restart is not to fail all that come after it.
beforeEach(() => server?.ensure(), { timeout: 90_000 });

after(async () => {
  clients.forEach((client) => client.disconnect());
  await browser?.close();
  await server?.close();
}, { timeout: 120_000 });

async function visitor(name, options) {
  const come = await Visitor.come(browser, server.page, name, options);
  visitors.push(come);
  return come;
}

async function sdkClient(name, channel) {
  const client = await connect(server.socket, name);
  clients.push(client);
  return join(client, channel);
}

// storedTexts reads all of a room's history, however slowly it came about: a page has at
// most 500 messages.
async function storedTexts(sub) {
  const texts = [];
  for (let since; ;) {
    const { publications, epoch } = await within(sub.history({ limit: 500, ...(since && { since }) }), 'history');
    if (publications.length === 0) return texts;
    texts.push(...publications.map((pub) => pub.data.text));
    since = { offset: publications.at(-1).offset, epoch };
  }
}

// settledOnce: on every screen each message once, in offset order, and the same everywhere.
async function assertSameScreens(people, expected) {
  for (const person of people) {
    await eventually(async () => (await person.texts()).length >= expected.length, `${person.name} has all ${expected.length} messages`);
    const messages = await person.messages();
    assert.deepEqual(messages.map((m) => m.text), expected, `what ${person.name} sees`);
    assert.ok(messages.every((m) => m.state === 'settled'), `nothing of ${person.name} is on its way any more`);
    assert.ok(messages.every((m, i) => i === 0 || m.offset > messages[i - 1].offset), 'ordered by offset, none twice');
  }
}

const assertNear = (got, want, what) => assert.ok(Math.abs(got - want) < 3, `${what}: ${got} for ${want}`);

async function assertNoComplaints(...people) {
  for (const person of people) assert.deepEqual(await person.complaints(), [], `${person.name}’s page kept its rules`);
}

test('what one writes the other reads, with name, grouping and presence', LIMIT, async () => {
  const ada = await visitor('Ada', { room: 'hall' });
  const ben = await visitor('Ben', { room: 'hall' });
  await ada.say('Hello, Ben.');
  await ada.say('Second line, same breath.');
  await ben.sees('Second line, same breath.');
  await ben.say('Hello, Ada.');
  await ada.sees('Hello, Ada.');
  await assertSameScreens([ada, ben], ['Hello, Ben.', 'Second line, same breath.', 'Hello, Ada.']);
  assert.deepEqual((await ben.messages()).map((m) => m.author), ['Ada', 'Ada', 'Ben']);
  assert.equal(await ben.page.locator('.message.joined').count(), 1, 'the second message shares a heading');
  assert.equal(await ben.page.locator('.message.new-day').count(), 1);
  assert.equal(await ben.page.locator('.you:visible').count(), 1, 'one’s own messages are marked');
  await eventually(async () => (await ada.page.locator('#people-list li').allTextContents()).join() === 'AAda,BBen', 'both are listed as here');
  await ben.leave();
  await eventually(async () => await ada.page.locator('#people-list li').count() === 1, 'who left is gone');
  await assertNoComplaints(ada);
  await ada.leave();
});

test('markup, scripts and odd data are shown as text and change nothing', LIMIT, async () => {
  const ada = await visitor('<b>Ada</b>', { room: 'markup' });
  const ben = await visitor('Ben', { room: 'markup' });
  const nasty = [
    '<img src=x onerror="document.title=\'owned\'">',
    '<script>document.title="owned"</script>',
    '</div></li><style>body{display:none}</style>',
    'javascript:alert(1) "><svg onload=alert(1)>',
    '&lt;b&gt; &amp; ${1+1} {{7*7}}',
  ];
  for (const text of nasty) await ada.say(text);
  await ben.sees(nasty.at(-1));
  await assertSameScreens([ada, ben], nasty);
  assert.equal((await ben.messages())[0].author, '<b>Ada</b>');
  assert.equal(await ben.page.locator('#transcript :is(img, script, style, svg, b b)').count(), 0);

  await ben.say('see https://example.org/a_(b)?q=1&r=<x>, (https://example.org/c). http://');
  await ada.sees('see https://example.org/a_(b)?q=1&r=<x>, (https://example.org/c). http://');
  const links = await ada.page.$$eval('.text a', (all) => all.map((a) => [a.getAttribute('href'), a.rel]));
  assert.deepEqual(links.map(([href]) => href), ['https://example.org/a_(b)?q=1&r=', 'https://example.org/c']);
  assert.ok(links.every(([, rel]) => rel.includes('noopener') && rel.includes('noreferrer')));

  const { sub } = await sdkClient('robot', 'markup');
  for (const data of [{ build: 7 }, [1, null], 'a bare string', 42, null, { text: 5 }]) await send(sub, data);
  await eventually(async () => (await ada.messages()).length === nasty.length + 7, 'all arrive');
  const odd = (await ada.texts()).slice(-6).map((text) => text.replace(/\s+/g, ''));
  assert.deepEqual(odd, ['{"build":7}', '[1,null]', 'abarestring', '42', 'null', '{"text":5}']);
  assert.doesNotMatch(await ada.page.title(), /owned/);
  await assertNoComplaints(ada, ben);
  await ada.leave();
  await ben.leave();
});

test('long histories come in pages, and the reader keeps the place', LIMIT, async () => {
  const { sub } = await sdkClient('robot', 'long');
  const all = Array.from({ length: 230 }, (_, n) => `line ${n}`);
  for (const text of all) await send(sub, { text });
  const ada = await visitor('Ada', { room: 'long' });
  await ada.sees('line 229');
  assert.ok((await ada.messages()).length < 230, 'not everything is loaded at once');
  assert.equal((await ada.texts()).at(-1), 'line 229');

  const scroller = ada.page.locator('#scroller');
  const placeOf = (text) => ada.page.locator('.message', { has: ada.page.getByText(text, { exact: true }) })
    .evaluate((row) => row.getBoundingClientRect().top);
  // In one go: the next page may be there a moment later.
  const [visible, top, before] = await scroller.evaluate((element) => {
    element.scrollTop = 300;
    const rows = [...element.querySelectorAll('.message')];
    const edge = element.getBoundingClientRect().top;
    const row = rows.find((each) => each.getBoundingClientRect().top > edge);
    return [row.querySelector('.text').textContent, row.getBoundingClientRect().top, rows.length];
  });
  await eventually(async () => (await ada.messages()).length > before, 'an older page is loaded');
  assertNear(await placeOf(visible), top, 'what was being read did not move');

  await sub.publish({ text: 'news below' });
  await ada.page.locator('#pill:visible').waitFor();
  assert.equal(await ada.page.locator('#pill-text').textContent(), '1 new message');
  assertNear(await placeOf(visible), top, 'new messages do not move it either');

  await eventually(async () => {
    await scroller.evaluate((element) => { element.scrollTop = 0; });
    return ada.page.locator('#opening').isVisible();
  }, 'the beginning of the room is reached', { every: 150 });
  assert.deepEqual(await ada.texts(), [...all, 'news below'], 'every message once, in order');

  await ada.page.click('#pill');
  await ada.page.locator('#pill').waitFor({ state: 'hidden' });
  await sub.publish({ text: 'at the bottom' });
  await ada.sees('at the bottom');
  await eventually(() => scroller.evaluate((e) => e.scrollHeight - e.scrollTop - e.clientHeight < 4), 'the bottom is followed');
  await assertNoComplaints(ada);
  await ada.leave();
});

test('kill -9 and restart: both pages come back, nothing is lost or doubled', LIMIT, async () => {
  const ada = await visitor('Ada', { room: 'crash' });
  const ben = await visitor('Ben', { room: 'crash' });
  const robot = await sdkClient('robot', 'crash');
  const acked = [];
  let stopped = false;
  const writer = (async () => {
    for (let n = 0; !stopped; n++) {
      try {
        await robot.sub.publish({ text: `robot ${n}` });
        acked.push(`robot ${n}`);
        await sleep(8);
      } catch {
        await sleep(50);
      }
    }
  })();
  const said = [];
  const say = async (who, text) => {
    said.push(text);
    await who.say(text);
  };

  for (let round = 1; round <= 2; round++) {
    await say(ada, `Ada before crash ${round}`);
    await say(ben, `Ben before crash ${round}`);
    await ada.sees(`Ben before crash ${round}`);
    // These are on their way, or in doubt, when the server dies.
    for (let n = 0; n < 3; n++) await say(ada, `Ada at the crash ${round}.${n}`);
    await server.kill();
    await Promise.all([ada.disconnected(), ben.disconnected()]);
    await say(ben, `Ben while it is down ${round}`);
    await eventually(async () => {
      const pending = (await ben.messages()).at(-1);
      return pending.text === `Ben while it is down ${round}` && pending.state === 'waiting';
    }, 'it is shown, as not sent');
    if (round === 1) await ben.snapshot('reconnecting-light', 1200);
    await server.restart();
    await Promise.all([ada.connected(), ben.connected()]);
    await ada.sees(`Ben while it is down ${round}`); // sent by itself
  }
  stopped = true;
  await within(writer, 'the writer stops');

  // What was in doubt is now either in the room or offered again: never gone.
  await eventually(async () => (await ada.messages()).every((m) => m.state === 'settled' || m.state === 'failed'), 'every doubt is settled');
  for (;;) {
    const retry = ada.page.locator('.message[data-state="failed"] .retry').first();
    if (await retry.count() === 0) break;
    await retry.click({ timeout: 1000 }).catch(() => {}); // settled at the last moment, perhaps
    await eventually(async () => (await ada.messages()).every((m) => m.state === 'settled' || m.state === 'failed'), 'the retry is done');
  }

  const stored = await storedTexts(robot.sub);
  assert.equal(new Set(stored).size, stored.length, 'nothing is stored twice');
  const inStore = new Set(stored);
  assert.deepEqual([...acked, ...said].filter((text) => !inStore.has(text)), [], 'everything acknowledged or said is in the room');
  await assertSameScreens([ada, ben], stored.slice(-(await ada.messages()).length));
  assert.ok((await ada.messages()).length >= 300 || (await ada.messages()).length === stored.length, 'the screen still has what it had');

  await ada.page.reload();
  await ada.connected();
  await ada.sees(stored.at(-1));
  const reloaded = await ada.texts();
  assert.ok(reloaded.length >= 50, 'a page of history after a reload');
  await assertSameScreens([ada], stored.slice(-reloaded.length));
  await assertNoComplaints(ada, ben);
  await ada.leave();
  await ben.leave();
});

test('a message typed while the server is down outlives a reload of the page', LIMIT, async () => {
  const ada = await visitor('Ada', { room: 'reload' });
  await ada.say('before');
  await ada.sees('before');
  await server.kill();
  await ada.disconnected();
  await ada.say('typed while down');
  await server.restart();
  // The page may or may not have reconnected by now: either way the message must not be lost or doubled.
  await ada.page.reload();
  await ada.connected();
  await ada.sees('typed while down');
  await assertSameScreens([ada], ['before', 'typed while down']);
  await ada.leave();
});

test('a server whose data are lost: the page shows the room as it is now', LIMIT, async () => {
  const ada = await visitor('Ada', { room: 'wiped' });
  await ada.say('this will be lost with the disk');
  await ada.sees('this will be lost with the disk');
  await server.kill();
  await ada.disconnected();
  server.wipe();
  await server.restart();
  await ada.connected();
  await eventually(async () => (await ada.messages()).length === 0, 'the old messages leave the screen');
  await ada.say('a new beginning');
  await ada.sees('a new beginning');
  await assertSameScreens([ada], ['a new beginning']);
  await assertNoComplaints(ada);
  await ada.leave();
});

test('rooms: unread counts, drafts, the address, leaving, and another name', LIMIT, async () => {
  const ada = await visitor('Ada', { room: 'garden' });
  const { page } = ada;
  await page.fill('#join-name', '  #kitchen / 2nd floor ');
  await page.press('#join-name', 'Enter');
  await page.locator('#room-name', { hasText: 'kitchen / 2nd floor' }).waitFor();
  assert.equal(new URL(page.url()).hash, `#${encodeURIComponent('kitchen / 2nd floor')}`);
  await page.fill('#text', 'half a thought');
  await page.click('#room-list a:has-text("garden")');
  await page.locator('#room-name', { hasText: 'garden' }).waitFor();
  assert.equal(await page.inputValue('#text'), '', 'a draft stays in its room');

  const { sub } = await sdkClient('robot', 'kitchen / 2nd floor');
  await sub.publish({ text: 'soup is ready' });
  await sub.publish({ text: 'still warm' });
  await page.locator('#room-list .badge:visible', { hasText: '2' }).waitFor();
  assert.match(await page.title(), /^\(2\) garden/);
  await page.goBack();
  await ada.sees('still warm');
  assert.equal(await page.inputValue('#text'), 'half a thought');
  assert.equal(await page.locator('#room-list .badge:visible').count(), 0, 'seen is not unread');
  await assertSameScreens([ada], ['soup is ready', 'still warm']);

  await page.click('#me');
  await page.fill('#profile-name', 'Ada L.');
  await page.keyboard.press('Enter');
  await ada.connected();
  await page.fill('#text', '');
  await ada.say('under another name');
  await ada.sees('under another name');
  assert.equal((await ada.messages()).at(-1).author, 'Ada L.');

  await page.reload();
  await ada.connected();
  await ada.sees('under another name');
  assert.equal(await page.locator('#me-name').textContent(), 'Ada L.', 'the name is kept');
  assert.deepEqual(await page.locator('#room-list .room-label').allTextContents(), ['lobby', 'garden', 'kitchen / 2nd floor']);
  await page.hover('#room-list li:has-text("kitchen")');
  await page.click('[aria-label="Leave kitchen / 2nd floor"]');
  await page.locator('#room-name', { hasText: 'lobby' }).waitFor();
  assert.deepEqual(await page.locator('#room-list .room-label').allTextContents(), ['lobby', 'garden']);
  await assertNoComplaints(ada);
  await ada.leave();
});

test('a message can not be longer than the limit, and the counter says so', LIMIT, async () => {
  const ada = await visitor('Ada', { room: 'limits' });
  const { page } = ada;
  await page.fill('#text', 'x'.repeat(3700));
  assert.equal(await page.locator('#counter').textContent(), '300 left');
  await page.fill('#text', 'x'.repeat(4003));
  assert.equal(await page.locator('#counter').textContent(), '3 too many');
  assert.ok(await page.locator('#send').isDisabled());
  await page.press('#text', 'Enter');
  assert.equal((await ada.messages()).length, 0);
  await page.fill('#text', '字'.repeat(4000));
  await page.press('#text', 'Enter');
  await ada.sees('字'.repeat(4000));
  await page.fill('#text', 'two');
  await page.press('#text', 'Shift+Enter');
  await page.keyboard.type('lines');
  await page.press('#text', 'Enter');
  await ada.sees('two\nlines');
  await page.fill('#text', '   \n ');
  await page.press('#text', 'Enter');
  assert.equal((await ada.messages()).length, 2, 'blank is not a message');
  await assertNoComplaints(ada);
  await ada.leave();
});

test('on a phone: drawers, no sideways scrolling, and pictures of it all', LIMIT, async () => {
  const talk = [
    ['Mei-Lin Zhao', ['Morning. Did the restart go through?']],
    ['Ravi', ['It did. Four thousand people, one reconnect each.', 'Nobody saw anything but a little dot turn yellow.']],
    ['Sofía', ['👏']],
    ['Mei-Lin Zhao', ['Numbers are in https://example.org/restart-2026-11 for whoever wants to look. '
      + 'The interesting one is the third: recovery never touched the store, because the recent list covered all of it.']],
    ['Jörg', ['I will add that to the notes.']],
  ];
  const talkers = new Map();
  for (const [name, lines] of talk) {
    if (!talkers.has(name)) talkers.set(name, await sdkClient(name, 'lobby'));
    for (const text of lines) await send(talkers.get(name).sub, { text });
  }
  for (const colorScheme of ['light', 'dark']) {
    const desk = await visitor('Nadia Okafor', { ...DESKTOP, colorScheme });
    await desk.sees('I will add that to the notes.');
    await desk.say(colorScheme === 'light' ? 'Good. Then let us do the next three nodes.' : 'Done.');
    await desk.page.locator('#people-list li').nth(4).waitFor();
    await desk.snapshot(`desktop-${colorScheme}`);
    await assertNoComplaints(desk);

    const phone = await visitor('Sam', { ...PHONE, colorScheme });
    const { page } = phone;
    await phone.sees('I will add that to the notes.');
    await page.locator('#open-people:visible').waitFor();
    await phone.snapshot(`phone-${colorScheme}`);
    const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(await overflow() <= 0, 'nothing sticks out sideways');
    assert.ok(await page.locator('#rooms').evaluate((nav) => nav.inert), 'what is out of sight can not be reached by Tab');
    await page.click('#open-rooms');
    await page.locator('#rooms.open').waitFor();
    await phone.snapshot(`phone-rooms-${colorScheme}`);
    assert.ok(await page.locator('#room').evaluate((main) => main.inert));
    await page.keyboard.press('Escape');
    await page.locator('#rooms:not(.open)').waitFor({ state: 'attached' });
    assert.equal(await page.evaluate(() => document.activeElement.id), 'open-rooms', 'focus goes back to where it came from');
    await page.click('#open-people');
    await page.locator('#people.open').waitFor();
    await phone.snapshot(`phone-people-${colorScheme}`);
    await page.click('#close-people');
    await page.setViewportSize({ width: 320, height: 560 });
    assert.ok(await overflow() <= 0, 'nor on the narrowest phone');
    await phone.snapshot(`phone-small-${colorScheme}`);
    await assertNoComplaints(phone);
    await phone.leave();
    await desk.leave();
  }
});

test('the first question has to be answered', LIMIT, async () => {
  const stranger = await browser.newPage(DESKTOP);
  await stranger.goto(server.page);
  await stranger.locator('#profile[open]').waitFor();
  await stranger.keyboard.press('Escape');
  await stranger.keyboard.press('Escape');
  await sleep(200);
  await stranger.locator('#profile').waitFor(); // asked again: without a name there is nothing behind it
  await stranger.fill('#profile-name', ' \u202e ');
  await stranger.keyboard.press('Enter');
  assert.equal(await stranger.locator('#profile-hint').textContent(), 'A name, please.');
  await stranger.fill('#profile-name', 'Ada');
  await stranger.keyboard.press('Enter');
  await stranger.locator('#profile').waitFor({ state: 'hidden' });
  await stranger.close();
});
