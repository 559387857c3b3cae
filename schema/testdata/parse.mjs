// Reads one base64 text a line, and writes what JavaScript makes of it: its type in UTF-16, or -, and the value in a
// form that every language can write alike. Half a surrogate pair is fffd and minus zero is zero there.
import { readFileSync } from 'node:fs';

const hex = (n, digits) => n.toString(16).padStart(digits, '0');

function units(s) {
  let out = '';
  for (let i = 0; i < s.length; i++) {
    const c = s.charCodeAt(i);
    const low = s.charCodeAt(i + 1);
    if (c >= 0xd800 && c < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
      out += hex(c, 4) + hex(low, 4);
      i++;
    } else {
      out += c >= 0xd800 && c < 0xe000 ? 'fffd' : hex(c, 4);
    }
  }
  return out;
}

function number(n) {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, n === 0 ? 0 : n);
  return hex(view.getUint32(0), 8) + hex(view.getUint32(4), 8);
}

function canon(v) {
  if (v === null) return 'n';
  switch (typeof v) {
    case 'boolean': return v ? 't' : 'f';
    case 'number': return '#' + number(v);
    case 'string': return '"' + units(v);
  }
  if (Array.isArray(v)) return '[' + v.map(canon).join(',') + ']';
  return '{' + Object.keys(v).map((k) => units(k) + ':' + canon(v[k])).sort().join(',') + '}';
}

const out = [];
for (const line of readFileSync(0, 'ascii').split('\n').slice(0, -1)) {
  try {
    const v = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(line, 'base64')));
    const kind = v !== null && typeof v === 'object' && !Array.isArray(v) && Object.hasOwn(v, 'type') ? v.type : null;
    out.push((typeof kind === 'string' ? units(kind) : '-') + ' ' + canon(v));
  } catch (e) {
    out.push('error ' + e.name);
  }
}
console.log(out.join('\n'));
