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
  #context;

  static async come(browser, url, name, { room, ...options } = DESKTOP) {
    const visitor = new Visitor();
    visitor.name = name;
    visitor.#context = await browser.newContext({ ...DESKTOP, ...options });
    const page = await visitor.#context.newPage();
    visitor.page = page;
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
    await page.goto(url + (room ? `#${encodeURIComponent(room)}` : ''));
    await page.fill('#profile-name', name);
    await page.keyboard.press('Enter');
    await visitor.connected();
    return visitor;
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
  async complaints() { return [...this.faults, ...await this.page.evaluate(() => window.violations)]; }

  leave() { return this.#context.close(); }
}
