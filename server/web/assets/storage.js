// Storage that may be missing, full, or hold anything: a browser in private mode,
// or with site data blocked, throws on the first touch, and what is under a key may
// be an older page's or somebody's experiment. The page then works without a memory.

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

  // get returns what read makes of the value under key. Where there is none, or read
  // returns undefined because it is not of the type it should be, it is otherwise.
  get(key, read, otherwise) {
    try {
      const text = this.#area?.getItem(this.#prefix + key);
      return (text == null ? undefined : read(JSON.parse(text))) ?? otherwise;
    } catch {
      return otherwise;
    }
  }

  // set removes what is empty, so that abandoned rooms leave nothing behind. What can
  // not be written is removed too: an old value would be taken for the present one.
  set(key, value) {
    const text = value === '' || (Array.isArray(value) && value.length === 0) ? '' : JSON.stringify(value);
    try {
      if (text) {
        this.#area?.setItem(this.#prefix + key, text);
        return;
      }
    } catch {
      // Full: what is on the screen stays right.
    }
    try {
      this.#area?.removeItem(this.#prefix + key);
    } catch {
      // Forbidden.
    }
  }

  // follow calls changed when another tab has written under key.
  follow(key, changed) {
    window.addEventListener('storage', (event) => {
      if (event.key === this.#prefix + key) changed();
    });
  }
}

export const store = { local: new Store('localStorage'), session: new Store('sessionStorage') };

// The readers for get.
export const asText = (value) => (typeof value === 'string' ? value : undefined);
export const asList = (value) => (Array.isArray(value) ? value : undefined);
export const asTexts = (value) => asList(value)?.filter((each) => typeof each === 'string');
