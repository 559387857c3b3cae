// An outline: some hundred characters of a value that some program has published.
// Its cost is bounded by what it shows, not by the value: JSON.stringify makes 18 MB
// of indentation out of 6 KB of brackets, and overflows the stack at some more.

const MAX_CHARS = 500;
const MAX_LEVELS = 8;

export function outline(value) {
  const parts = [];
  let left = MAX_CHARS;

  // put returns whether there is room for more.
  function put(text) {
    if (left <= 0) return false;
    parts.push(text.length > left ? `${text.slice(0, left)}…` : text);
    left -= text.length;
    return left > 0;
  }

  function list(open, close, items, level, show) {
    if (!put(open)) return;
    if (items.length > 0 && level >= MAX_LEVELS) put('…');
    else {
      for (const [i, item] of items.entries()) {
        if (i > 0 && !put(', ')) return;
        show(item);
        if (left <= 0) return;
      }
    }
    put(close);
  }

  function walk(each, level) {
    if (Array.isArray(each)) list('[', ']', each, level, (item) => walk(item, level + 1));
    else if (each !== null && typeof each === 'object') {
      list('{', '}', Object.keys(each), level, (key) => {
        if (put(`${quoted(key)}: `)) walk(each[key], level + 1);
      });
    } else put(typeof each === 'string' ? quoted(each) : String(each));
  }

  walk(value, 0);
  if (left === 0) parts.push('…');
  return parts.join('');
}

const quoted = (text) => JSON.stringify(text.slice(0, MAX_CHARS + 1));
