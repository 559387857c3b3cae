// The composer: the box one types in.

export const MAX_TEXT = 4000; // characters; well inside what the server takes in one message
const SHOW_COUNTER = 400; // characters left

export class Composer {
  #form;
  #text;
  #counter;
  #button;
  #send;

  constructor({ form, text, counter, button }, send) {
    this.#form = form;
    this.#text = text;
    this.#counter = counter;
    this.#button = button;
    this.#send = send;
    text.addEventListener('input', () => this.#measure());
    text.addEventListener('keydown', (event) => {
      // The Enter that ends a Japanese or Chinese word is not for us. Most browsers say
      // isComposing; Safari sends it after the end of the composition, with key code 229.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.#submit();
    });
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
      this.#text.focus();
    });
  }

  get draft() { return this.#text.value; }

  set draft(value) {
    this.#text.value = value;
    this.#measure();
  }

  focus() { this.#text.focus(); }

  setEnabled(enabled, label) {
    if (this.#text.disabled === !enabled && this.#text.placeholder === label) return;
    this.#text.disabled = !enabled;
    this.#text.placeholder = label;
    this.#text.setAttribute('aria-label', label);
    this.#measure();
  }

  #submit() {
    const text = this.#text.value.trim();
    if (this.#button.disabled || text === '') return;
    this.draft = '';
    this.#send(text);
  }

  #measure() {
    const left = MAX_TEXT - this.#text.value.trim().length;
    this.#counter.hidden = left > SHOW_COUNTER;
    this.#counter.textContent = left >= 0 ? `${left} left` : `${-left} too many`;
    this.#form.classList.toggle('over', left < 0);
    this.#button.disabled = this.#text.disabled || left < 0 || left === MAX_TEXT;
    this.#text.style.height = 'auto';
    this.#text.style.height = `${this.#text.scrollHeight}px`;
  }
}
