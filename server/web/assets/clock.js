// The clock: how times and days are written, in the reader's own language.

const time = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });
const day = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const dayOfYear = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'long', year: 'numeric' });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' });

export const timeText = (at) => time.format(at);
export const fullText = (at) => full.format(at);

// dayOf is equal for two instants of the same local day, also over a change of summer time.
export const dayOf = (at) => new Date(at).toDateString();

export function dayText(at, now = Date.now()) {
  const date = new Date(at);
  if (dayOf(at) === dayOf(now)) return capital(relative.format(0, 'day'));
  const yesterday = new Date(now);
  yesterday.setDate(yesterday.getDate() - 1);
  if (dayOf(at) === dayOf(yesterday)) return capital(relative.format(-1, 'day'));
  return (date.getFullYear() === new Date(now).getFullYear() ? day : dayOfYear).format(date);
}

const capital = (text) => text.charAt(0).toLocaleUpperCase() + text.slice(1);
