// Storage that may be missing: a browser in private mode, or with site data
// blocked, throws on the first touch. The page then works without a memory.

class Store {
  #area;
  #prefix = 'hubbub.';

  constructor(name) {
    try {
      this.#area = window[name];
    } catch {
      this.#area = undefined;
    }
  }

  get(key, otherwise) {
    try {
      const text = this.#area?.getItem(this.#prefix + key);
      return text == null ? otherwise : JSON.parse(text);
    } catch {
      return otherwise;
    }
  }

  // set removes what is empty, so that abandoned rooms leave nothing behind.
  set(key, value) {
    try {
      if (Array.isArray(value) && value.length === 0) this.#area?.removeItem(this.#prefix + key);
      else this.#area?.setItem(this.#prefix + key, JSON.stringify(value));
    } catch {
      // Full or forbidden: what is on the screen stays right.
    }
  }
}

export const store = { local: new Store('localStorage'), session: new Store('sessionStorage') };
