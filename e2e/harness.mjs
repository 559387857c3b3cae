// The harness: a real server process, a TCP proxy that can cut, SDK clients, and
// waiting with a limit. Processes end by their own pid; temporary directories and
// sockets are gone at the end, also when a test failed.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';

const here = path.dirname(fileURLToPath(import.meta.url));

export const BINARY = path.resolve(process.env.HUBBUB_BIN || path.join(here, '..', 'bin', 'hubbub'));
export const OUT = path.join(here, 'out');

// Limits, not expectations: a machine that others use as well can be ten times slower.
const START_MS = 60_000;
const EXIT_MS = 60_000;
const PATIENCE_MS = 60_000;
const TOO_MANY_REQUESTS = 111;

export { sleep };

// eventually asks again until check returns something true, and returns it.
export async function eventually(check, what, { within = PATIENCE_MS, every = 50 } = {}) {
  const until = Date.now() + within;
  let last;
  for (;;) {
    try {
      last = await check();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > until) break;
    await sleep(every);
  }
  const seen = last instanceof Error ? last.message : JSON.stringify(last);
  throw new Error(`not within ${within} ms: ${what} (last: ${seen})`);
}

// within rejects when a promise takes too long, so that no test hangs for its whole time-out.
export function within(promise, what, ms = PATIENCE_MS) {
  const limit = new AbortController();
  const late = sleep(ms, undefined, { signal: limit.signal }).then(() => {
    throw new Error(`not within ${ms} ms: ${what}`);
  });
  late.catch(() => {}); // aborted: the promise was in time
  return Promise.race([promise, late]).finally(() => limit.abort());
}

// freePort is below those that the kernel gives to outgoing connections: a server that
// is down for a moment must find its port free when it returns.
export async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const probe = net.createServer().listen(port, '127.0.0.1');
    try {
      await once(probe, 'listening');
    } catch {
      continue; // somebody's
    }
    probe.close();
    await once(probe, 'close');
    return port;
  }
}

const running = new Set(); // child processes, for the case that this process dies first
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

// The surroundings are not to configure the server under test.
const cleanEnv = () => Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('HUBBUB_')));

// makeToken signs one with `hubbub token`, given its flags.
export async function makeToken(key, ...flags) {
  const { stdout } = await promisify(execFile)(BINARY, ['token', ...flags], {
    env: { ...cleanEnv(), HUBBUB_TOKEN_KEY: key }, timeout: START_MS,
  });
  return stdout.trim();
}

// A server on one port and one data directory for its whole life, over any number of processes.
export class Server {
  port;
  data;
  #child;
  #env;
  #output = '';

  // start takes settings as environment variables, and what --config says.
  static async start({ env = {}, config } = {}) {
    if (!existsSync(BINARY)) throw new Error(`no server at ${BINARY}: run "make build", or set HUBBUB_BIN`);
    const server = new Server();
    server.port = await freePort();
    server.data = mkdtempSync(path.join(tmpdir(), 'hubbub-e2e-'));
    server.#env = { ...env };
    if (config) {
      server.#env.HUBBUB_CONFIG = path.join(server.data, 'namespaces.json');
      writeFileSync(server.#env.HUBBUB_CONFIG, JSON.stringify(config));
    }
    await server.restart();
    return server;
  }

  get page() { return `http://127.0.0.1:${this.port}/`; }
  get socket() { return `ws://127.0.0.1:${this.port}/connection/websocket`; }

  async restart() {
    const child = spawn(BINARY, ['serve', '--addr', `127.0.0.1:${this.port}`, '--data', this.data], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...cleanEnv(), ...this.#env },
    });
    this.#child = child;
    running.add(child);
    child.once('exit', () => running.delete(child));
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => { this.#output = (this.#output + text).slice(-8000); });
    }
    try {
      await eventually(() => {
        if (child.exitCode !== null) throw new Error(`exit code ${child.exitCode}`);
        return fetch(`${this.page}readyz`, { signal: AbortSignal.timeout(3000) }).then((reply) => reply.ok);
      }, 'the server is ready', { within: START_MS });
    } catch (error) {
      throw new Error(`${error.message}\n${this.#output}`);
    }
  }

  async ensure() {
    if (!running.has(this.#child)) await this.restart();
  }

  // kill is kill -9: nothing is flushed, nobody is told.
  async kill() {
    await this.#end('SIGKILL');
  }

  // wipe is the disk lost with the process: the next start has a new epoch.
  wipe() {
    rmSync(this.data, { recursive: true, force: true });
  }

  async close() {
    await this.#end('SIGTERM');
    this.wipe();
  }

  async #end(signal) {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    try {
      await within(exited, `the server ends at ${signal}`, EXIT_MS);
    } catch (error) {
      child.kill('SIGKILL');
      await exited;
      throw error;
    }
  }
}

// A TCP proxy in front of the server: cut() breaks every connection and lets no
// new one through until mend().
export class Proxy {
  #server;
  #sockets = new Set();
  #cut = false;

  static async start(targetPort) {
    const proxy = new Proxy();
    proxy.#server = net.createServer((near) => proxy.#join(near, targetPort)).listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get socket() { return `ws://127.0.0.1:${this.#server.address().port}/connection/websocket`; }

  cut() {
    this.#cut = true;
    this.#sockets.forEach((socket) => socket.resetAndDestroy());
  }

  mend() { this.#cut = false; }

  async close() {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #join(near, targetPort) {
    if (this.#cut) {
      near.resetAndDestroy();
      return;
    }
    const far = net.connect(targetPort, '127.0.0.1');
    for (const [from, to] of [[near, far], [far, near]]) {
      this.#sockets.add(from);
      from.on('data', (bytes) => to.write(bytes));
      from.on('error', () => {}); // 'close' follows
      from.on('end', () => to.end());
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
  }
}

// connect returns a connected SDK client. Reconnects come fast here, and only the
// delays are changed: everything else is the SDK as people use it.
export async function connect(socket, name, options = {}) {
  const client = new Centrifuge(socket, {
    websocket: WebSocket,
    data: { name },
    minReconnectDelay: 50,
    maxReconnectDelay: 400,
    ...options,
  });
  const connected = new Promise((resolve) => client.once('connected', resolve));
  client.connect();
  client.id = (await within(connected, `${name} is connected`)).client;
  return client;
}

// send publishes until the server has it. Only where it asks to slow down is the
// same sent again: it was refused, so it can not be doubled.
export async function send(sub, data) {
  for (;;) {
    try {
      return await within(sub.publish(data), `${JSON.stringify(data).slice(0, 40)} is acknowledged`);
    } catch (error) {
      if (error.code !== TOO_MANY_REQUESTS) throw error;
      await sleep(100);
    }
  }
}

// join subscribes and keeps everything that happens to the subscription.
export async function join(client, channel) {
  const sub = client.newSubscription(channel);
  const seen = { sub, publications: [], subscribed: [], errors: [], unsubscribed: [] };
  sub.on('publication', (pub) => seen.publications.push(pub));
  sub.on('subscribed', (ctx) => seen.subscribed.push(ctx));
  sub.on('unsubscribed', (ctx) => seen.unsubscribed.push(ctx));
  sub.on('error', (ctx) => seen.errors.push(ctx));
  seen.texts = () => seen.publications.map((pub) => pub.data.text);
  seen.offsets = () => seen.publications.map((pub) => pub.offset);
  sub.subscribe();
  await within(sub.ready(), `subscribed to ${channel}`);
  return seen;
}
