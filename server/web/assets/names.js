// Names: what is shown of what people, programs and rooms are called. A name is any
// text somebody chose; on the screen it must not be empty, reorder or cover what
// stands beside it, or look like another because of characters nobody sees.

const MAX_NAME = 64;
const MAX_MARKS = 3; // combining marks on one letter: more than any language stacks

const BIDI = /\p{Bidi_Control}/gu;
// What is not drawn and does not join or choose the form of what is: emoji, Persian
// and Indic scripts need the ones that are left.
const UNSEEN = /(?![\u200c\u200d\ufe00-\ufe0f\u{e0020}-\u{e007f}\u{e0100}-\u{e01ef}])\p{Default_Ignorable_Code_Point}/gu;
const STACKED = new RegExp(`(\\p{M}{${MAX_MARKS}})\\p{M}+`, 'gu');
const BLANK = /[\p{Default_Ignorable_Code_Point}\u2800]/gu; // U+2800 is a Braille cell without dots
const VISIBLE = /[\p{L}\p{N}\p{P}\p{S}]/u;

// cleanName returns what can be shown of a name, or '' with nothing to be seen in it.
export function cleanName(name) {
  if (typeof name !== 'string') return '';
  const clean = name.slice(0, 4 * MAX_NAME)
    .replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, ' ')
    .replace(/\p{Cs}/gu, '\ufffd') // half of a surrogate pair
    .replace(BIDI, '').replace(UNSEEN, '').replace(STACKED, '$1')
    .replace(/\s+/gu, ' ').trim();
  if (!VISIBLE.test(clean.replace(BLANK, ''))) return '';
  return [...clean].slice(0, MAX_NAME).join('').trim();
}

// roomLabel writes out what can not be seen: rooms with different names are different
// rooms, and should not look alike.
export function roomLabel(name) {
  const label = name.replace(BIDI, written).replace(UNSEEN, written).replace(STACKED, '$1');
  return VISIBLE.test(label.replace(BLANK, '')) ? label : label.replace(/./gsu, written);
}

const written = (char) => `⟨${char.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}⟩`;
