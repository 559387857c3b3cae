// The scroller: keeps the reader's place. At the bottom it stays at the bottom;
// anywhere else what is being read does not move, whatever is added above or
// below. The browser's own anchoring is off (app.css): not all have it.

const NEAR_PX = 60;

export class Scroller {
  #element;
  #stuck = true;
  #moved;

  // moved is told when the reader scrolled.
  constructor(element, moved) {
    this.#element = element;
    this.#moved = moved;
    element.addEventListener('scroll', () => {
      this.#stuck = this.#fromBottom() < NEAR_PX;
      this.#moved();
    }, { passive: true });
    // A growing text box or a phone's keyboard takes room from below.
    new ResizeObserver(() => { if (this.#stuck) this.toBottom(); }).observe(element);
  }

  get atBottom() { return this.#stuck; }
  get farFromBottom() { return this.#fromBottom() > this.#element.clientHeight; }
  get nearTop() { return this.#element.scrollTop < this.#element.clientHeight; }

  // look finds out where the reader is, after a change that was asked for.
  look() {
    this.#stuck = this.#fromBottom() < NEAR_PX;
    this.#moved();
  }

  toBottom() {
    this.#stuck = true;
    this.#element.scrollTop = this.#element.scrollHeight;
  }

  // keeping runs a change of the content without moving what is being read.
  keeping(change) {
    const anchor = this.#stuck ? undefined : this.#firstVisible();
    // Its lower edge: a page put in above may take the heading of the day or of
    // the speaker away from it.
    const before = anchor?.getBoundingClientRect().bottom;
    change();
    if (this.#stuck) this.toBottom();
    else if (anchor?.isConnected) this.#element.scrollTop += anchor.getBoundingClientRect().bottom - before;
  }

  #fromBottom() {
    return this.#element.scrollHeight - this.#element.scrollTop - this.#element.clientHeight;
  }

  #firstVisible() {
    const top = this.#element.getBoundingClientRect().top;
    for (const message of this.#element.querySelectorAll('.message')) {
      if (message.getBoundingClientRect().bottom > top) return message;
    }
    return undefined;
  }
}
