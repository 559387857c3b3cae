// An avatar: initials on a colour of the name's own, the same on every screen.

const HUES = 24; // fifteen degrees apart: as many as an eye can tell from one another

export function hueOf(name) {
  let hash = 2166136261; // FNV-1a: short names that differ in one letter get far apart
  for (const unit of name) hash = Math.imul(hash ^ unit.codePointAt(0), 16777619);
  return ((hash >>> 8) % HUES) * (360 / HUES); // FNV's low bits are its weak ones
}

export function initialsOf(name) {
  const words = name.trim().split(/[\s._-]+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : words;
  return letters.map((word) => [...word][0].toLocaleUpperCase()).join('') || '?';
}

export function paintAvatar(element, name) {
  element.textContent = initialsOf(name);
  // Through the CSSOM: a style attribute would be refused by the page's policy.
  element.style.setProperty('--hue', hueOf(name));
}
