// The pass: the form that asks for a token where the server lets nobody in without
// one. The token goes into the connect command and the tab's storage, nowhere else.

export class Pass {
  #parts;
  #connection;

  constructor(parts, connection) {
    this.#parts = parts;
    this.#connection = connection;
    parts.form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    parts.token.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.#submit();
    });
  }

  // show is called at every painting.
  show() {
    const { form, hint, token } = this.#parts;
    const { needsToken, wasRefused, reason } = this.#connection;
    if (form.hidden !== needsToken) return; // it is as it should be
    form.hidden = !needsToken;
    hint.textContent = needsToken && wasRefused ? `The token you gave was not taken: ${reason}.` : '';
    if (needsToken && matchMedia('(pointer: fine)').matches) token.focus();
  }

  #submit() {
    const { form, token, hint } = this.#parts;
    if (!this.#connection.use(token.value.replace(/\s+/gu, ''))) {
      hint.textContent = 'That is not a token: it has three parts with dots between them.';
      return;
    }
    token.value = '';
    form.hidden = true; // until the server has said what it thinks of it
  }
}
