// Claims: which tab an unsent message belongs to. A browser that duplicates a tab
// copies what the tab has stored, unsent messages with it, and both would send them.
// So a tab holds a lock for each of its own until it closes; who finds a copy gets the
// lock, and may send, only when the first tab is gone.

const KEPT_MS = 60_000; // after a message is done with: a copy has seen it in the room by then

const held = new Map(); // nonce → ends the claim

// claim resolves when the message is this tab's, at once or when the other tab closes;
// with false where browsers can not tell, which is on plain http but for localhost.
export function claim(nonce) {
  const locks = globalThis.navigator?.locks;
  if (!locks) return Promise.resolve(false);
  return new Promise((resolve) => {
    locks.request(`hubbub unsent ${nonce}`, () => new Promise((end) => {
      held.set(nonce, end);
      resolve(true);
    })).catch(() => resolve(false));
  });
}

export function release(nonce) {
  const end = held.get(nonce);
  if (!end) return;
  held.delete(nonce);
  setTimeout(end, KEPT_MS);
}
