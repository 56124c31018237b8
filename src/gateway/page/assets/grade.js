// Rating one answer: stars, thumbs, a better text, a flag. Invariant: "saved" is said only after the daemon said so; a
// text that was begun is there again after a reload.
import { button, fill, h } from './dom.js';
import { draft } from './draft.js';
import { give, retract, whenSaved } from './ratings.js';

const begun = draft('text');

/**
 * Gives ratings one after the other and says in `status` what became of them: the ids that were saved or wait, or `null`
 * when the daemon refuses. `about` follows the id.
 */
export async function record(list, status, about) {
  fill(status, h('span.note', null, 'saving…'));
  const ids = [];
  let waits = null;
  try {
    for (const fields of list) {
      const result = await give(fields);
      ids.push(result.id);
      if (!result.saved) waits = result.why;
    }
  } catch (problem) {
    fill(status, h('span.problem', null, `not saved: ${problem.message}`));
    return null;
  }
  const saved = () => fill(status, h('span.saved', null, 'saved ✓ '), h('code', null, ids.join(' ')), about && h('span.note', null, ` · ${about}`));
  if (!waits) {
    saved();
    return ids;
  }
  const kept = h('span.kept', null, 'kept in this browser, sent again by itself');
  fill(status, kept, ` (${waits})`);
  whenSaved(ids.at(-1), () => { if (status.contains(kept)) saved(); });
  return ids;
}

/** Takes ratings back, the newest first. */
export async function takeBack(ids, status) {
  try {
    for (const id of [...ids].reverse()) await retract(id);
    fill(status, h('span.saved', null, 'taken back ✓ '), h('code', null, ids.join(' ')));
    return true;
  } catch (problem) {
    fill(status, h('span.problem', null, `not taken back: ${problem.message}`));
    return false;
  }
}

const WORDS = ['', 'bad', 'poor', 'fair', 'good', 'excellent'];

/**
 * The buttons for one answer. `kinds` holds `stars`, `thumb`, `edit`, `flag`; `rate(list)` is called with the ratings.
 * Returns the element and its keys.
 */
export function grader({ answer, text, kinds, rate }) {
  const keys = [];
  const parts = [];
  const more = h('div.more', { hidden: true });
  const open = (form, focus) => { fill(more, form); more.hidden = false; focus.focus(); };
  const close = () => { more.hidden = true; more.replaceChildren(); begun.clear(); };
  const send = (fields) => { close(); rate([fields]); };
  const was = begun.get();
  const written = (what) => (was?.answer === answer && was.what === what ? was.text : null);
  if (kinds.includes('stars')) {
    const stars = [1, 2, 3, 4, 5].map((n) => {
      const run = () => send({ kind: 'stars', answer, stars: n });
      keys.push([String(n), `${n} ${n === 1 ? 'star' : 'stars'}: ${WORDS[n]}`, run]);
      return button(h('span.star', { 'aria-hidden': 'true' }, '★'), String(n), run, { 'aria-label': `${n} of 5 stars, ${WORDS[n]}`, title: WORDS[n], kind: 'n' });
    });
    parts.push(h('div.stars', { role: 'group', 'aria-label': 'Stars' }, stars));
  }
  if (kinds.includes('thumb')) {
    const up = () => send({ kind: 'thumb', answer, up: true });
    const down = () => send({ kind: 'thumb', answer, up: false });
    keys.push(['u', 'thumb up', up], ['d', 'thumb down', down]);
    parts.push(h('div.thumbs', { role: 'group', 'aria-label': 'Thumbs' }, button('Good', 'u', up, { kind: 'up' }), button('Bad', 'd', down, { kind: 'down' })));
  }
  const extras = [];
  if (kinds.includes('edit')) {
    const run = () => {
      const field = h('textarea', { id: 'edit', rows: '6', maxlength: '32000' });
      field.value = written('edit') ?? text;
      const save = () => field.value.trim() && send({ kind: 'edit', answer, text: field.value });
      open(form(field, 'What it should have said', 'Save this text', save), field);
    };
    keys.push(['e', 'write a better text', run]);
    extras.push(button('Edit', 'e', run));
  }
  if (kinds.includes('flag')) {
    const run = () => {
      const field = h('input', { id: 'flag', maxlength: '500' });
      field.value = written('flag') ?? '';
      open(form(field, 'What is wrong with it?', 'Flag it', () => send({ kind: 'flag', answer, reason: field.value.trim() })), field);
    };
    keys.push(['f', 'flag it', run]);
    extras.push(button('Flag', 'f', run));
  }
  if (extras.length) parts.push(h('div.extras', null, extras));
  const form = (field, label, word, run) => {
    field.addEventListener('input', () => begun.set({ answer, what: field.id, text: field.value }));
    field.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey || field.tagName === 'INPUT')) { event.preventDefault(); run(); }
    });
    return [h('label', { for: field.id }, label), field,
      h('div.row', null, button(word, '', run, { kind: 'main' }), button('Cancel', '', close))];
  };
  if (was?.answer === answer) keys.find(([key]) => key === was.what[0])?.[2]();
  return { element: h('div.grader', null, h('div.bar', null, parts), more), keys };
}
