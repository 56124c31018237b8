// What was begun and not yet sent. Invariant: it survives a reload, and is struck out once it was sent; each place keeps
// one thing at a time.

/** A place for one JSON value: `get()` (or `null`), `set(value)`, `clear()`. */
export function draft(place) {
  const key = `understudy.draft.${place}`;
  let here = null;
  return {
    get() { try { return JSON.parse(localStorage.getItem(key)); } catch { return here; } },
    set(value) {
      here = value;
      try { localStorage.setItem(key, JSON.stringify(value)); } catch { /* for this visit */ }
    },
    clear() {
      here = null;
      try { localStorage.removeItem(key); } catch { /* it was never kept */ }
    },
  };
}
