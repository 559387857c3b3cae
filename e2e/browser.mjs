// The browser: Debian's Chromium through playwright-core, and the page as a test
// sees it. Every page keeps a record of what it must not do: break its content
// policy, throw, or write an error to the console.

import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { eventually, OUT } from './harness.mjs';

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

export const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);

export function launch() {
  return chromium.launch({ executablePath: CHROMIUM, args: FLAGS, timeout: 60_000 });
}

export const DESKTOP = { viewport: { width: 1320, height: 860 }, locale: 'en-GB', timezoneId: 'UTC' };
export const PHONE = { viewport: { width: 390, height: 780 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, locale: 'en-GB', timezoneId: 'UTC' };

// Visitor is one person at one browser: a context of its own, so a storage of its own.
export class Visitor {
  page;
  name;
  faults = [];
  context;

  // come opens the page and answers its first question. prepare is given the context
  // and the page before anything is loaded.
  static async come(browser, url, name, { room, prepare, ...options } = DESKTOP) {
    const context = await browser.newContext({ ...DESKTOP, ...options });
    const visitor = await Visitor.#at(context, await context.newPage(), name);
    await prepare?.(context, visitor.page);
    await visitor.page.goto(url + (room ? `#${encodeURIComponent(room)}` : ''));
    await visitor.answer();
    await visitor.connected();
    return visitor;
  }

  // duplicate is what the browser's "Duplicate tab" does: the copy has the storage of
  // the tab, what it stores for itself included.
  async duplicate() {
    const opened = this.context.waitForEvent('page');
    await this.page.evaluate(() => { window.open(location.href); });
    return Visitor.#at(this.context, await opened, `${this.name}’s copy`);
  }

  static async #at(context, page, name) {
    const visitor = new Visitor();
    Object.assign(visitor, { name, context, page });
    page.setDefaultTimeout(30_000);
    page.on('pageerror', (error) => visitor.faults.push(`thrown: ${error.message}`));
    page.on('dialog', (dialog) => {
      visitor.faults.push(`dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on('console', (message) => {
      // The browser itself writes a refused connection to the console; nothing can prevent it.
      if (message.type() !== 'error' || /ERR_CONNECTION_(REFUSED|RESET|CLOSED)/.test(message.text())) return;
      visitor.faults.push(`console: ${message.text()}`);
    });
    await page.addInitScript(() => {
      window.violations = [];
      document.addEventListener('securitypolicyviolation', (event) => {
        window.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
      });
    });
    return visitor;
  }

  // answer gives the name that the page asks for.
  async answer() {
    await this.page.fill('#profile-name', this.name);
    await this.page.keyboard.press('Enter');
  }

  async connected(within = 30_000) {
    await this.page.locator('#link-state[data-state="connected"]').waitFor({ state: 'attached', timeout: within });
  }

  async disconnected() {
    await this.page.locator('#link-state:not([data-state="connected"])').waitFor({ state: 'attached' });
  }

  async say(text) {
    await this.page.fill('#text', text);
    await this.page.press('#text', 'Enter');
  }

  // messages is what is on the screen, from top to bottom.
  messages() {
    return this.page.$$eval('#transcript > .message', (rows) => rows.map((row) => ({
      text: row.querySelector('.text').textContent,
      author: row.querySelector('.author').textContent,
      state: row.dataset.state,
      offset: Number(row.dataset.offset) || 0,
    })));
  }

  async texts() { return (await this.messages()).map((message) => message.text); }

  async sees(text, within) {
    await eventually(async () => (await this.messages()).some((m) => m.text === text && m.state === 'settled'),
      `${this.name} sees ${JSON.stringify(text.slice(0, 60))}`, { within });
  }

  // snapshot waits for the end of whatever is sliding in.
  async snapshot(name, settle = 400) {
    mkdirSync(OUT, { recursive: true });
    await this.page.waitForTimeout(settle);
    await this.page.screenshot({ path: path.join(OUT, `${name}.png`) });
  }

  // complaints is what the page did that it must not do.
  async complaints() { return [...this.faults, ...await this.page.evaluate(() => window.violations ?? [])]; }

  leave() { return this.context.close(); }
}

// A Line is the WebSockets of a context in the test's hand: it cuts them, and puts words
// into the server's mouth, which may be any JSON, also such that no server would send.
export class Line {
  inHistory = []; // publications, as JSON, that the next page of a history ends with
  heard = []; // the pushes that came, as "kind channel"
  #sockets = new Map(); // page's side → server's
  #cut = false;

  static async of(context) {
    const line = new Line();
    await context.routeWebSocket(/connection\/websocket/, (near) => line.#join(near));
    return line;
  }

  cut() {
    this.#cut = true;
    for (const near of this.#sockets.keys()) near.close({ code: 3000, reason: 'cut' });
    this.#sockets.clear();
  }

  mend() { this.#cut = false; }

  push(channel, pub) {
    for (const near of this.#sockets.keys()) near.send(`{"push":{"channel":${JSON.stringify(channel)},"pub":${pub}}}`);
  }

  #join(near) {
    if (this.#cut) {
      near.close({ code: 3000, reason: 'cut' });
      return;
    }
    const far = near.connectToServer();
    this.#sockets.set(near, far);
    near.onMessage((message) => far.send(message));
    near.onClose((code, reason) => {
      this.#sockets.delete(near);
      far.close({ code, reason });
    });
    far.onMessage((message) => near.send(String(message).split('\n').map((reply) => this.#reply(reply)).join('\n')));
  }

  #reply(text) {
    const reply = JSON.parse(text);
    for (const kind of Object.keys(reply.push ?? {})) this.heard.push(`${kind} ${reply.push.channel}`);
    if (!reply.history || this.inHistory.length === 0) return text;
    const extra = this.inHistory.splice(0);
    reply.history.publications.push(...extra.map((_, n) => `odd ${n}`));
    return JSON.stringify(reply).replace(/"odd (\d+)"/g, (_, n) => extra[n]);
  }
}
