// Why somebody rates as they do, in their own words. Invariant: it is asked of nobody and sent only where something was
// written; it goes with the next rating and then is gone.
import { button, h } from './dom.js';

/** 2 KiB at three bytes a unit, the most that UTF-8 needs. */
const MOST = 680;

/**
 * The field and its key. `onchange` hears of each change; `text()` is what was written, `write(text)` shows and fills it,
 * `clear()` empties and hides it. `off` leaves it out.
 */
export function why(onchange = () => {}) {
  const field = h('input', { id: 'why', maxlength: String(MOST), autocomplete: 'off', placeholder: 'Why? It goes with your rating' });
  const element = h('div.why', { hidden: true }, h('label', { for: 'why' }, 'Why'), field);
  const open = () => { element.hidden = false; opener.hidden = true; field.focus(); };
  const opener = button('Why', 'w', open, { kind: 'quiet', title: 'Say why, with your rating' });
  field.addEventListener('input', onchange);
  field.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.isComposing) return;
    // Back to the keys that rate.
    event.preventDefault();
    field.blur();
  });
  field.addEventListener('blur', () => { if (!field.value.trim()) clear(); });
  function clear() {
    field.value = '';
    element.hidden = true;
    opener.hidden = false;
  }
  return {
    element, opener, clear,
    keys: [['w', 'say why, with your rating', open]],
    text: () => field.value.trim(),
    write(text) {
      if (!text) return;
      field.value = text;
      element.hidden = false;
      opener.hidden = true;
    },
  };
}

/** The ratings with the reason, if there is one; taking back needs none. */
export const withWhy = (list, text) => (text ? list.map((fields) => ({ ...fields, why: text })) : list);
