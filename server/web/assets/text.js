// Text as it was typed, with web addresses made into links. Everything goes into
// the page as text nodes: there is no way from a message to markup.

const ADDRESS = /\bhttps?:\/\/[^\s<>"]+/giu;
const TRAILING = /[.,;:!?'*_\]}]+$/u;
const ONLY_EMOJI = /^(?:\p{Extended_Pictographic}(?:\u200d\p{Extended_Pictographic}|[\ufe0f\u{1f3fb}-\u{1f3ff}])*\s*){1,4}$/u;

export function isOnlyEmoji(text) { return text.length <= 40 && ONLY_EMOJI.test(text); }

export function linked(text) {
  const nodes = document.createDocumentFragment();
  let done = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const address = tidy(match[0]);
    if (!URL.canParse(address)) continue;
    nodes.append(text.slice(done, match.index), link(address));
    done = match.index + address.length;
  }
  nodes.append(text.slice(done));
  return nodes;
}

// "(see https://example.org/a_(b))." ends before the last parenthesis and the dot.
function tidy(address) {
  let tidied = address.replace(TRAILING, '');
  while (tidied.endsWith(')') && tidied.split(')').length > tidied.split('(').length) {
    tidied = tidied.slice(0, -1).replace(TRAILING, '');
  }
  return tidied;
}

function link(address) {
  const a = document.createElement('a');
  a.href = address;
  a.textContent = address;
  a.target = '_blank';
  a.rel = 'noopener noreferrer nofollow ugc';
  return a;
}
