// What the README shows runs as it stands: its JavaScript is taken out of it, and run
// in a Node.js of its own. Only the address is another.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { eventually, OUT, Server } from './harness.mjs';

const README = readFileSync(path.join(import.meta.dirname, '..', 'README.md'), 'utf8');
const ADDRESS = 'ws://localhost:8000/connection/websocket';

test('the lines with the SDK', { timeout: 180_000 }, async () => {
  const blocks = [...README.matchAll(/^```js\n(.*?)^```/gms)].map(([, text]) => text);
  assert.ok(blocks.length > 0, 'the README has JavaScript');
  const server = await Server.start();
  try {
    for (const [n, block] of blocks.entries()) {
      assert.ok(block.includes(ADDRESS), block);
      mkdirSync(OUT, { recursive: true }); // beneath node_modules, like the reader's own directory
      const file = path.join(OUT, `readme-${n}.mjs`);
      // The end is told; what the lines return is theirs.
      writeFileSync(file, `${block.replaceAll(ADDRESS, server.socket)}\nconsole.log('came to the end')\n`);
      const child = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'pipe'] });
      const ended = once(child, 'exit');
      let output = '';
      for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { output += text; });
      try {
        await eventually(() => {
          if (child.exitCode !== null && !output.includes('came to the end')) throw new Error(`exit code ${child.exitCode}: ${output}`);
          return output.includes('came to the end') && output.includes("{ text: 'hi' }");
        }, 'the message is published and seen');
        assert.match(output, /^\d+ guest-\S+ \{ text: 'hi' \}$/m);
        assert.doesNotMatch(output, /Error/);
      } finally {
        child.kill('SIGKILL');
        await ended;
      }
    }
  } finally {
    await server.close();
  }
});
