// Ordering answers from best to worst, with ties. Invariant: each answer is in the list once; dragging begins at a handle
// only, so that a finger on the text scrolls.
import { announce, button, fill, h, prose } from './dom.js';

/** The list and its keys; `levels()` gives the answers from best to worst, equals in an inner list. */
export function ranking(answers) {
  const items = answers.map((answer, at) => ({ answer, label: answer.label ?? String.fromCharCode(65 + at), number: at + 1, tied: false, row: null }));
  let chosen = null;
  const list = h('ol.ranking', { 'aria-label': 'Answers, best first' });
  for (const item of items) item.row = build(item);
  list.append(...items.map((item) => item.row.element));
  paint();

  function build(item) {
    const handle = h('button.handle', { type: 'button', 'aria-label': `Move ${item.label}: drag, or choose it and use the arrow keys`, onclick: () => choose(item) }, '⠿');
    const place = h('span.place');
    const tie = button('=', '', () => toggle(item), { kind: 'tie', 'aria-label': `Tie ${item.label} with the one above` });
    const up = button('↑', '', () => move(item, -1), { 'aria-label': `Move ${item.label} up` });
    const down = button('↓', '', () => move(item, 1), { 'aria-label': `Move ${item.label} down` });
    const head = h('div.rank-head', null, handle, h('kbd', null, String(item.number)), h('b', null, item.label), place, h('span.spacer'), tie, up, down);
    const element = h('li', { 'data-answer': String(item.answer.answer) }, head, prose(item.answer.html, item.answer.text));
    handle.addEventListener('pointerdown', (event) => drag(event, item));
    return { element, place, tie, up, down };
  }

  function choose(item) {
    chosen = item;
    paint();
    announce(`${item.label} chosen, place ${places().get(item)} of ${items.length}`);
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
    paint();
    announce(`${item.label} moved to place ${places().get(item)} of ${items.length}`);
  }

  function toggle(item) {
    if (items.indexOf(item) === 0) return;
    item.tied = !item.tied;
    chosen = item;
    paint();
    announce(item.tied ? `${item.label} is as good as the one above` : `${item.label} is worse than the one above`);
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
    items.forEach((item, at) => { if (!item.tied || at === 0) place = at + 1; found.set(item, place); });
    return found;
  }

  function paint() {
    items[0].tied = false;
    const found = places();
    items.forEach((item, at) => {
      const { element, place, tie, up, down } = item.row;
      element.classList.toggle('chosen', item === chosen);
      element.classList.toggle('tied', item.tied);
      if (item === chosen) element.setAttribute('aria-current', 'true'); else element.removeAttribute('aria-current');
      fill(place, item.tied ? `as good as ${items[at - 1].label}` : `place ${found.get(item)}`);
      tie.setAttribute('aria-pressed', String(item.tied));
      [tie.disabled, up.disabled, down.disabled] = [at === 0, at === 0, at === items.length - 1];
    });
  }

  const of = (run) => () => { if (chosen) run(chosen); else announce('Choose an answer with its number first'); };
  const numbers = [...items].sort((a, b) => a.number - b.number).slice(0, 9)
    .map((item) => [String(item.number), `choose ${item.label}`, () => choose(item)]);
  return {
    element: list,
    keys: [...numbers, ['ArrowUp', 'move it up', of((item) => move(item, -1))], ['ArrowDown', 'move it down', of((item) => move(item, 1))],
      ['=', 'tie it with the one above', of(toggle)]],
    levels() {
      const levels = [];
      items.forEach((item, at) => {
        if (item.tied && at > 0) levels.at(-1).push(item.answer.answer);
        else levels.push([item.answer.answer]);
      });
      return levels;
    },
  };
}
