// An avatar: initials of the name on a colour of the user's own, the same on every
// screen: two people who call themselves alike do not look alike.

const HUES = 24; // fifteen degrees apart: as many as an eye can tell from one another

function hueOf(id) {
  let hash = 2166136261; // FNV-1a: short names that differ in one letter get far apart
  for (const unit of id) hash = Math.imul(hash ^ unit.codePointAt(0), 16777619);
  return ((hash >>> 8) % HUES) * (360 / HUES); // FNV's low bits are its weak ones
}

function initialsOf(name, letters) {
  const words = name.split(/[\s._-]+/u).filter(Boolean);
  const chosen = words.length > 1 ? [words[0], words.at(-1)] : words;
  return chosen.slice(0, letters).map((word) => [...word][0].toLocaleUpperCase()).join('') || '?';
}

export function paintAvatar(element, { id, name, server = false }, letters = 2) {
  element.classList.toggle('from-server', server);
  element.textContent = server ? '' : initialsOf(name, letters);
  paintHue(element, id);
}

// Through the CSSOM: a style attribute would be refused by the page's policy.
export function paintHue(element, id) { element.style.setProperty('--hue', hueOf(id)); }
