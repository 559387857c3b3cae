// The transcript: the elements of the messages on the screen. It is never patched
// event by event; show() makes the list equal to what it is given, touching only
// what differs. Whatever order things happened in, the screen ends up right, and
// at a few hundred messages the comparison costs less than a frame.

import { paintAvatar, paintHue } from './avatar.js';
import { dayOf, dayText, fullText, timeText } from './clock.js';
import { extentOf, isOnlyEmoji, linked } from './text.js';

const SAME_BREATH_MS = 5 * 60 * 1000; // messages this close by one sender share a heading
const NOTES = { held: 'Waiting in another tab', waiting: 'Waiting for the connection', unsure: 'Checking whether it was sent…' };

export class Transcript {
  #list;
  #template;
  #rows = new Map(); // key → { element, item, version, … }: what is on the screen

  // act is called with 'retry' or 'discard' and the nonce of an unsent message, and
  // with 'more' when more or less of a long one is shown.
  constructor(list, template, act) {
    this.#list = list;
    this.#template = template;
    list.addEventListener('click', (event) => {
      const button = event.target.closest('button');
      const element = button?.closest('.message');
      if (button?.className === 'more') {
        this.#toggle(element);
        act('more');
      } else if (element?.dataset.nonce) act(button.className, element.dataset.nonce);
    });
  }

  show(items) {
    const keys = new Set(items.map((item) => item.key));
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
    let next = this.#list.firstElementChild;
    let previous;
    for (const item of items) {
      const row = this.#row(item);
      if (row.element === next) next = next.nextElementSibling;
      else this.#list.insertBefore(row.element, next);
      place(row, item, previous);
      previous = item;
    }
  }

  #row(item) {
    let row = this.#rows.get(item.key);
    if (!row) {
      row = { element: this.#template.content.firstElementChild.cloneNode(true) };
      this.#rows.set(item.key, row);
    }
    if (row.item !== item || row.version !== item.version) {
      fill(row.element, item, row.isOpen);
      row.item = item;
      row.version = item.version;
    }
    return row;
  }

  #toggle(element) {
    for (const row of this.#rows.values()) {
      if (row.element !== element) continue;
      row.isOpen = !row.isOpen;
      fillText(element, row.item, row.isOpen);
      if (!row.isOpen) element.scrollIntoView({ block: 'nearest' });
    }
  }
}

function fill(element, item, isOpen) {
  const part = (selector) => element.querySelector(selector);
  element.dataset.state = item.state;
  if (item.offset === undefined) element.dataset.nonce = item.nonce;
  else {
    element.dataset.offset = item.offset;
    delete element.dataset.nonce; // a settled message can not be retried
  }
  paintAvatar(part('.avatar'), item.author);
  part('.author').textContent = item.author.name;
  part('.author').title = item.author.id;
  paintHue(part('.author'), item.author.id);
  // No name can make this mark: it is an element of its own.
  part('.system').hidden = !item.author.server;
  part('.you').hidden = !item.own;
  for (const time of element.querySelectorAll('time')) {
    time.dateTime = new Date(item.at).toISOString();
    time.title = fullText(item.at);
    time.textContent = timeText(item.at);
  }
  fillText(element, item, isOpen);
  part('.state-text').textContent = item.reason || NOTES[item.state] || '';
}

function fillText(row, item, isOpen = false) {
  const element = row.querySelector('.text');
  const more = row.querySelector('.more');
  const extent = extentOf(item.deleted ? '' : item.text);
  element.classList.toggle('raw', item.raw === true);
  element.classList.toggle('deleted', item.deleted === true);
  element.classList.toggle('big', !item.raw && isOnlyEmoji(item.text));
  element.classList.toggle('cut', extent.long && !isOpen);
  element.classList.toggle('huge', extent.huge && isOpen);
  more.hidden = !extent.long;
  more.textContent = isOpen ? 'Show less' : 'Show all';
  more.setAttribute('aria-expanded', String(isOpen));
  if (item.deleted) {
    element.textContent = 'This message was deleted';
    return;
  }
  const text = isOpen ? item.text : item.text.slice(0, extent.kept);
  element.replaceChildren(item.raw ? text : linked(text, text.length < item.text.length));
  if (!item.edited) return;
  const mark = document.createElement('span');
  mark.className = 'edited';
  mark.textContent = ' (edited)';
  element.append(mark);
}

// place sets what depends on the neighbour above: a new day, a new heading.
function place(row, item, previous) {
  const newDay = !previous || dayOf(previous.at) !== dayOf(item.at);
  const joined = !newDay
    && previous.author.name === item.author.name
    && Boolean(previous.author.server) === Boolean(item.author.server)
    && (previous.author.id === item.author.id || Boolean(previous.own && item.own))
    && item.at - previous.at < SAME_BREATH_MS;
  // Asked at every show, because "Today" becomes "Yesterday" at midnight.
  const day = newDay ? dayText(item.at) : '';
  if (row.day !== day) {
    row.day = day;
    row.element.classList.toggle('new-day', newDay);
    row.element.querySelector('.day span').textContent = day;
  }
  if (row.joined !== joined) {
    row.joined = joined;
    row.element.classList.toggle('joined', joined);
  }
}
