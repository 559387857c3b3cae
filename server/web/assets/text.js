// Text as it was typed, with web addresses made into links. Everything goes into
// the page as text nodes: there is no way from a message to markup.

// An address ends at white space, quotes and brackets of markup, at what is not drawn
// or reorders, and at punctuation outside of ASCII: in "请看https://example.com，谢谢"
// the comma is the sentence's. Letters of any script are part of it, and what stands
// within words: middle dots, hyphens and the en dash of "Michelson–Morley", Hebrew
// geresh and gershayim, the Tibetan dot between syllables.
const ADDRESS = /\bhttps?:\/\/(?:[!#-;=?-_a-~·・゠\u2010-\u2013\u05be\u05f3\u05f4\u0f0b\u200c\u200d]|[^\x00-\x7f\p{P}\p{Z}\p{C}])+/giu;
const TRAILING = new Set('.,;:!?\'*_\u2010\u2011\u2012\u2013');
const OPENS = new Map([[')', '('], [']', '['], ['}', '{']]);
const ONLY_EMOJI = /^(?:\p{Extended_Pictographic}(?:\u200d\p{Extended_Pictographic}|[\ufe0f\u{1f3fb}-\u{1f3ff}])*\s*){1,4}$/u;

export function isOnlyEmoji(text) { return text.length <= 40 && ONLY_EMOJI.test(text); }

// linked makes the nodes of a text. Of one that is cut the end is never a link: it
// would lead somewhere else.
export function linked(text, isCut = false) {
  const nodes = document.createDocumentFragment();
  let done = 0;
  for (const { address, at } of addresses(text)) {
    if (isCut && at + address.length === text.length) break;
    nodes.append(text.slice(done, at), link(address));
    done = at + address.length;
  }
  nodes.append(text.slice(done));
  return nodes;
}

// addresses finds the web addresses in a text.
export function* addresses(text) {
  for (const match of text.matchAll(ADDRESS)) {
    const address = tidy(match[0]);
    if (URL.canParse(address)) yield { address, at: match.index };
  }
}

// "(see https://example.org/a_(b))." ends before the last parenthesis and the dot, and
// so do brackets of all kinds: what is closed in it was opened in it.
// A pass over the whole for each kind and one from its end, because any text may be an address.
function tidy(address) {
  const unpaired = new Map(); // closing bracket → how many more there are than opening ones
  for (const [close, open] of OPENS) {
    let n = 0;
    for (const char of address) n += char === close ? 1 : char === open ? -1 : 0;
    unpaired.set(close, n);
  }
  let end = address.length;
  for (; end > 0; end -= 1) {
    const char = address[end - 1];
    if (unpaired.get(char) > 0) unpaired.set(char, unpaired.get(char) - 1);
    else if (!TRAILING.has(char)) break;
  }
  return address.slice(0, end);
}

function link(address) {
  const a = document.createElement('a');
  a.href = address;
  a.textContent = address;
  a.target = '_blank';
  a.rel = 'noopener noreferrer nofollow ugc';
  return a;
}

const COLUMNS = 80; // of a line, about
const WIDE = '%&@MWmw—…‰'; // of Latin, what nearly fills a square
const LONG = 40; // lines, about, above which a message is shown in part
const HUGE = 400; // and above which all of it scrolls within
const KEPT = 6000; // characters that the part has at most: what can be typed is all there
const KEPT_LINES = 120; // and line breaks

// extentOf reckons how much room a text takes, without laying it out: whether it is
// long or huge, and how many characters of it are put into the page at first.
export function extentOf(text) {
  let lines = 1;
  let breaks = 0;
  let column = 0;
  let kept = text.length;
  for (let i = 0; i < text.length && lines <= HUGE; i += 1) {
    const code = text.charCodeAt(i);
    if ((code >= 10 && code <= 13) || code === 0x85 || code === 0x2028 || code === 0x2029) {
      lines += 1;
      column = 0;
      breaks += 1;
      if (breaks === KEPT_LINES) kept = Math.min(kept, i);
    } else {
      column += code >= 0x2e80 || WIDE.includes(text[i]) ? 2 : 1; // ideographs are wide, and so are the two halves of an emoji
      if (column >= COLUMNS) {
        lines += 1;
        column = 0;
      }
    }
  }
  kept = Math.min(kept, KEPT);
  if (kept < text.length && text.codePointAt(kept - 1) > 0xffff) kept -= 1; // not half of a pair
  return { long: lines > LONG, huge: lines > HUGE, kept: lines > LONG ? kept : text.length };
}
