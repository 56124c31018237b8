// The keyboard. Invariant: keys are live unless somebody types, and each one that does something is in the list under `?`.
import { h, fill } from './dom.js';

let page = new Map();
let general = new Map();
let chord = null;
let dialog;

/** The keys of the page that is shown: `[[key, what, run], …]`; they replace those of the page before. */
export function bind(keys) {
  page = new Map(keys.map(([key, what, run]) => [key, { what, run }]));
}

/** Keys that hold everywhere. `g x` is two keys, one after the other. */
export function always(keys) {
  general = new Map(keys.map(([key, what, run]) => [key, { what, run }]));
}

const typing = (element) => element?.closest?.('input, textarea, select, [contenteditable]');

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (document.querySelector('dialog[open]') || typing(event.target)) return;
  // A focused button or link keeps what the browser does with these two.
  if ((event.key === 'Enter' || event.key === ' ') && event.target.closest?.('button, a, summary')) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const named = chord ? `${chord} ${key}` : key;
  chord = null;
  const found = page.get(named) ?? general.get(named);
  if (found) {
    if (event.repeat && !key.startsWith('Arrow')) return;
    event.preventDefault();
    found.run();
  } else if (key === 'g') {
    chord = 'g';
    setTimeout(() => { chord = null; }, 1200);
  }
});

const shown = { ArrowUp: '↑', ArrowDown: '↓', Enter: 'Enter', ' ': 'Space' };
const kbd = (key) => key.split(' ').filter(Boolean).map((one) => h('kbd', null, shown[one] ?? one));

/** Shows all keys. */
export function help() {
  dialog ??= document.body.appendChild(h('dialog.keys', { 'aria-labelledby': 'keys-title' }));
  const list = (keys) => h('dl', null, [...keys].filter(([, { what }]) => what)
    .map(([key, { what }]) => h('div', null, h('dt', null, kbd(key)), h('dd', null, what))));
  const close = h('button.quiet', { type: 'button', onclick: () => dialog.close() }, 'Close', h('kbd', { 'aria-hidden': 'true' }, 'Esc'));
  fill(dialog,
    h('h2', { id: 'keys-title' }, 'Keys'),
    page.size > 0 && h('section', null, h('h3', null, 'On this page'), list(page)),
    h('section', null, h('h3', null, 'Everywhere'), list(general)),
    h('p.note', null, 'Keys rest while you type. Esc leaves a text box.'), close);
  dialog.showModal();
}

document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && typing(event.target)) event.target.blur();
});
