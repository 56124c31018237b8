// Ordering answers from best to worst, with ties, and only as many as one likes. Invariant: each answer is in the list
// once; what is below the line is not ranked, and counts as worse only where that was said; dragging begins at a handle
// only, so that a finger on the text scrolls.
import { announce, button, fill, h, prose } from './dom.js';

/**
 * The list and its keys; `levels()` gives the ranked answers from best to worst, equals in an inner list. `onchange` hears
 * of each change; `state()` and `restore(state)` carry the order over a reload.
 */
export function ranking(answers, onchange = () => {}) {
  const items = answers.map((answer, at) => ({ answer, label: answer.label ?? String.fromCharCode(65 + at), number: at + 1, tied: false, row: null }));
  const all = [...items];
  // Among the items, so that an answer crosses it like any other.
  const line = { line: true, label: 'The line', row: null };
  let chosen = null;
  let worse = false;
  const list = h('ol.ranking', { 'aria-label': 'Answers, best first' });
  for (const item of items) item.row = build(item);
  const rest = button('The rest is worse', 'b', () => setWorse(!worse), { kind: 'tie' });
  const below = h('span.note');
  line.row = { element: h('li.line', null, below, rest) };
  items.push(line);
  list.append(...items.map((item) => item.row.element));
  paint();

  function build(item) {
    const handle = h('button.handle', { type: 'button', 'aria-label': `Move ${item.label}: drag, or choose it and use the arrow keys`, onclick: () => choose(item) }, '⠿');
    const place = h('span.place');
    const tie = button('=', '', () => toggle(item), { kind: 'tie', 'aria-label': `Tie ${item.label} with the one above` });
    const out = button('×', '', () => leave(item), { kind: 'tie', 'aria-label': `Leave ${item.label} out` });
    const up = button('↑', '', () => move(item, -1), { 'aria-label': `Move ${item.label} up` });
    const down = button('↓', '', () => move(item, 1), { 'aria-label': `Move ${item.label} down` });
    const head = h('div.rank-head', null, handle, h('kbd', null, String(item.number)), h('b', null, item.label), place, h('span.spacer'), tie, out, up, down);
    const element = h('li', { 'data-answer': String(item.answer.answer) }, head, prose(item.answer.html, item.answer.text));
    handle.addEventListener('pointerdown', (event) => drag(event, item));
    return { element, place, tie, out, up, down };
  }

  function ranked() { return items.slice(0, items.indexOf(line)); }
  function unranked() { return items.slice(items.indexOf(line) + 1); }
  function told(item) { return ranked().includes(item) ? `place ${places().get(item)} of ${ranked().length}` : 'not ranked'; }

  function choose(item) {
    chosen = item;
    paint();
    announce(`${item.label} chosen, ${told(item)}`);
  }

  function move(item, by) {
    const from = items.indexOf(item);
    const to = from + by;
    chosen = item;
    if (to < 0 || to >= items.length) { paint(); return; }
    items.splice(to, 0, ...items.splice(from, 1));
    item.tied = false;
    // The others move round it: an element under a finger must stay where it is in the document.
    if (by > 0) item.row.element.before(items[from].row.element);
    else item.row.element.after(items[from].row.element);
    changed(`${item.label} moved, ${told(item)}`);
  }

  function toggle(item) {
    const at = items.indexOf(item);
    if (at === 0 || at > items.indexOf(line)) return;
    item.tied = !item.tied;
    chosen = item;
    changed(item.tied ? `${item.label} is as good as the one above` : `${item.label} is worse than the one above`);
  }

  /** Puts an answer below the line, or back as the last above it. */
  function leave(item) {
    chosen = item;
    const out = ranked().includes(item);
    items.splice(items.indexOf(item), 1);
    items.splice(items.indexOf(line) + (out ? 1 : 0), 0, item);
    item.tied = false;
    lay();
    changed(`${item.label} ${told(item)}`);
  }

  /** Leaves out all that stand below an answer. */
  function cut(item) {
    if (!ranked().includes(item)) return;
    items.splice(items.indexOf(line), 1);
    items.splice(items.indexOf(item) + 1, 0, line);
    for (const other of unranked()) other.tied = false;
    lay();
    changed(`${ranked().length} of ${all.length} are ranked`);
  }

  function setWorse(value) {
    worse = value;
    changed(worse ? 'What is not ranked is worse' : 'Of what is not ranked nothing is said');
  }

  function lay() { list.append(...items.map((item) => item.row.element)); }

  function changed(words) {
    paint();
    announce(words);
    onchange();
  }

  function drag(event, item) {
    if (event.button !== 0) return;
    event.preventDefault();
    choose(item);
    item.row.element.classList.add('dragged');
    const follow = (now) => {
      const at = items.indexOf(item);
      const middle = (row) => { const box = row.element.getBoundingClientRect(); return box.top + box.height / 2; };
      if (at > 0 && now.clientY < middle(items[at - 1].row)) move(item, -1);
      else if (at < items.length - 1 && now.clientY > middle(items[at + 1].row)) move(item, 1);
    };
    const end = () => {
      item.row.element.classList.remove('dragged');
      for (const [name, run] of [['pointermove', follow], ['pointerup', end], ['pointercancel', end]]) removeEventListener(name, run);
    };
    for (const [name, run] of [['pointermove', follow], ['pointerup', end], ['pointercancel', end]]) addEventListener(name, run);
  }

  function places() {
    const found = new Map();
    let place = 0;
    ranked().forEach((item, at) => { if (!item.tied || at === 0) place = at + 1; found.set(item, place); });
    return found;
  }

  function paint() {
    items[0].tied = false;
    const found = places();
    items.forEach((item, at) => {
      if (item === line) return;
      const { element, place, tie, out, up, down } = item.row;
      const within = found.has(item);
      element.classList.toggle('chosen', item === chosen);
      element.classList.toggle('tied', within && item.tied);
      element.classList.toggle('out', !within);
      if (item === chosen) element.setAttribute('aria-current', 'true'); else element.removeAttribute('aria-current');
      if (within) fill(place, item.tied ? `as good as ${items[at - 1].label}` : `place ${found.get(item)}`);
      else fill(place, worse ? 'worse than the ranked' : 'not ranked');
      tie.setAttribute('aria-pressed', String(within && item.tied));
      out.setAttribute('aria-pressed', String(!within));
      [tie.disabled, up.disabled, down.disabled] = [at === 0 || !within, at === 0, at === items.length - 1];
    });
    const left = unranked().length;
    fill(below, left ? `Not ranked: ${worse ? 'but worse than those above' : 'nothing is said of what is below'}` : 'What you put below this line is not ranked');
    rest.hidden = !left;
    rest.setAttribute('aria-pressed', String(worse));
  }

  const of = (run) => () => { if (chosen) run(chosen); else announce('Choose an answer with its number first'); };
  const numbers = all.slice(0, 9).map((item) => [String(item.number), `choose ${item.label}`, () => choose(item)]);
  return {
    element: list,
    keys: [...numbers, ['ArrowUp', 'move it up', of((item) => move(item, -1))], ['ArrowDown', 'move it down', of((item) => move(item, 1))],
      ['=', 'tie it with the one above', of(toggle)], ['x', 'leave it out, or rank it again', of(leave)],
      ['.', 'leave out all below it', of(cut)], ['b', 'what is left out is worse', () => unranked().length && setWorse(!worse)]],
    levels() {
      const levels = [];
      ranked().forEach((item, at) => {
        if (item.tied && at > 0) levels.at(-1).push(item.answer.answer);
        else levels.push([item.answer.answer]);
      });
      if (worse && unranked().length) levels.push(unranked().map((item) => item.answer.answer));
      return levels;
    },
    state: () => ({ order: items.map((item) => item.answer?.answer ?? null), tied: items.filter((item) => item.tied).map((item) => item.answer.answer), worse }),
    restore(state) {
      const by = new Map(items.map((item) => [item.answer?.answer ?? null, item]));
      if (state?.order?.length !== items.length || !state.order.every((id) => by.delete(id))) return;
      const known = new Map(items.map((item) => [item.answer?.answer ?? null, item]));
      items.splice(0, items.length, ...state.order.map((id) => known.get(id)));
      for (const item of all) item.tied = state.tied.includes(item.answer.answer);
      worse = Boolean(state.worse);
      lay();
      paint();
    },
  };
}
