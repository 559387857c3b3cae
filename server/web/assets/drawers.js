// The drawers: on a narrow screen the rooms and the people slide in over the
// messages, one at a time. What is out of sight is inert, so that neither the
// Tab key nor a screen reader wanders into it.

export class Drawers {
  #panels = new Map(); // name → { panel, button, narrow }
  #main;
  #open = '';

  constructor(main, scrim) {
    this.#main = main;
    scrim.addEventListener('click', () => this.close());
    document.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && this.#open) this.close();
    });
  }

  // add takes a panel, its button, and the media query in which it is a drawer.
  add(name, panel, button, query) {
    const narrow = matchMedia(query);
    this.#panels.set(name, { panel, button, narrow });
    button.addEventListener('click', () => (this.#open === name ? this.close() : this.open(name)));
    narrow.addEventListener('change', () => this.close());
    this.#apply();
  }

  open(name) {
    this.#open = name;
    this.#apply();
    this.#panels.get(name).panel.querySelector('a, button, input')?.focus();
  }

  close() {
    const button = this.#panels.get(this.#open)?.button;
    this.#open = '';
    this.#apply();
    button?.focus();
  }

  #apply() {
    let covered = false;
    for (const [name, { panel, button, narrow }] of this.#panels) {
      const open = name === this.#open;
      panel.classList.toggle('open', open);
      panel.inert = narrow.matches && !open;
      button.setAttribute('aria-expanded', String(open));
      covered ||= open && narrow.matches;
    }
    this.#main.inert = covered;
    document.body.classList.toggle('covered', covered);
  }
}
