// An avatar: initials on a colour of the name's own, the same on every screen.

const HUES = 24; // fifteen degrees apart: as many as an eye can tell from one another

export function hueOf(name) {
  let hash = 2166136261; // FNV-1a: short names that differ in one letter get far apart
  for (const unit of name) hash = Math.imul(hash ^ unit.codePointAt(0), 16777619);
  return ((hash >>> 8) % HUES) * (360 / HUES); // FNV's low bits are its weak ones
}

function initialsOf(name, letters) {
  const words = name.split(/[\s._-]+/u).filter(Boolean);
  const chosen = words.length > 1 ? [words[0], words.at(-1)] : words;
  return chosen.slice(0, letters).map((word) => [...word][0].toLocaleUpperCase()).join('') || '?';
}

export function paintAvatar(element, name, letters = 2) {
  element.textContent = initialsOf(name, letters);
  // Through the CSSOM: a style attribute would be refused by the page's policy.
  element.style.setProperty('--hue', hueOf(name));
}
