// Rate: one answer, pair or list after the other. Invariant: who rates sees neither version nor score; the next task
// comes only when the last rating is saved or kept in this browser.
import { get, post } from './api.js';
import { add, announce, attribution, button, fill, h, prose } from './dom.js';
import { grader, record, takeBack } from './grade.js';
import { bind } from './keys.js';
import { name } from './person.js';
import { ranking } from './ranking.js';

const KINDS = [['any', 'Anything'], ['stars', 'Stars'], ['thumb', 'Thumbs'], ['pair', 'Pairs'], ['ranking', 'Rankings']];
const KIND = 'understudy.kind';
const POLL_MS = 2500;

export function show(main, { signal, argument }) {
  let kind = KINDS.some(([one]) => one === argument) ? argument : remembered();
  let task = null;
  let busy = false;
  let timer = null;
  const undo = [];
  const waiting = h('span.note.count');
  const status = h('p.status', { role: 'status' });
  const place = h('div.task');
  const chips = KINDS.map(([one, label]) => h('button.chip', { type: 'button', 'data-kind': one, onclick: () => choose(one) }, label));
  main.append(h('h1.unseen', null, 'Rate'),
    h('div.row.rate-head', null, h('div.chips', { role: 'group', 'aria-label': 'What to rate' }, chips), waiting), place, status);
  signal.addEventListener('abort', () => clearTimeout(timer));
  mark();
  next();

  function remembered() { try { return localStorage.getItem(KIND) ?? 'any'; } catch { return 'any'; } }
  function mark() { for (const chip of chips) chip.setAttribute('aria-pressed', String(chip.dataset.kind === kind)); }
  function choose(one) {
    kind = one;
    try { localStorage.setItem(KIND, one); } catch { /* for this visit */ }
    mark();
    next();
  }

  /** The next task; `done` are answers that were just rated, which the daemon may not have noticed yet. */
  async function next(done = [], tries = 20) {
    clearTimeout(timer);
    let found;
    try {
      found = await get(`/v1/tasks/next?annotator=${encodeURIComponent(name())}&kind=${kind}`, { signal });
      if (tries > 0 && found?.answers.some(({ answer }) => done.includes(answer))) {
        timer = setTimeout(() => next(done, tries - 1), 100);
        return;
      }
    } catch (problem) {
      if (problem.name === 'AbortError') return;
      idle(h('p.problem', null, problem.message), 'It is tried again by itself.');
      return;
    }
    if (signal.aborted) return;
    if (found) { paint(found); return; }
    idle(h('p.big', null, 'Nothing waits for you.'), 'New answers show up here by themselves. Ask something, and rate what comes.');
  }

  function idle(first, second) {
    task = null;
    fill(waiting, '');
    fill(place, h('div.nothing', null, first, h('p.note', null, second), h('p', null, h('a', { href: '#/ask' }, 'Ask a question'))));
    if (undo.length) add(place, [h('div.row.middle', null, button('Undo', 'z', back))]);
    bind([['z', 'take the last rating back', back]]);
    timer = setTimeout(() => next(), POLL_MS);
  }

  async function rate(list) {
    if (busy || !task) return;
    busy = true;
    const done = task;
    const ids = await record(list, status);
    busy = false;
    if (!ids) return;
    task = null;
    undo.push({ ids, task: done });
    announce('saved, the next one');
    if (!signal.aborted) next(done.answers.map(({ answer }) => answer));
  }

  async function skip() {
    if (busy || !task) return;
    busy = true;
    const skipped = task;
    try {
      await post(`/v1/tasks/${encodeURIComponent(skipped.task)}/skip`, { annotator: name() });
      fill(status, h('span.note', null, 'skipped'));
    } catch (problem) {
      fill(status, h('span.problem', null, problem.message));
    }
    busy = false;
    next();
  }

  async function back() {
    if (busy || !undo.length) return;
    busy = true;
    const last = undo.at(-1);
    if (await takeBack(last.ids, status)) {
      undo.pop();
      busy = false;
      clearTimeout(timer);
      paint(last.task);
      return;
    }
    busy = false;
  }

  /** Shows a task; its buttons and keys follow from its kind. */
  function paint(found) {
    task = found;
    fill(waiting, found.waiting > 0 ? `${found.waiting} waiting` : '');
    const { question, answers } = found;
    const general = [['s', 'skip it', skip], ['z', 'take the last rating back', back]];
    const { body, bar, keys } = parts(found, answers);
    const side = h('div.side', null, button('Skip', 's', skip, { kind: 'quiet' }), undo.length > 0 && button('Undo', 'z', back, { kind: 'quiet' }));
    fill(place, asked(question), body, h('div.actions', null, bar, side));
    bind([...keys, ...general]);
  }

  function parts(found, answers) {
    const article = (answer, label) => h('article.answer', { 'data-answer': String(answer.answer), 'aria-label': label ? `Answer ${label}` : 'The answer' },
      label && h('h3.label', { 'aria-hidden': 'true' }, label), prose(answer.html, answer.text));
    if (found.kind === 'pair') {
      const [a, b] = answers;
      const pair = (better, worse, strength) => () => rate([{ kind: 'pair', better: better.answer, worse: worse.answer, strength }]);
      const down = (answer) => ({ kind: 'thumb', answer: answer.answer, up: false });
      const choices = [
        ['1', 'A much better', pair(a, b, 2)], ['2', 'A better', pair(a, b, 1)],
        ['3', 'Equal', () => rate([{ kind: 'ranking', levels: [[a.answer, b.answer]] }])],
        ['4', 'B better', pair(b, a, 1)], ['5', 'B much better', pair(b, a, 2)],
        // Not a tie: each is bad for itself, and neither is better.
        ['0', 'Both bad', () => rate([down(a), down(b)])],
      ];
      const bar = h('div.choices', { role: 'group', 'aria-label': 'Which is better?' },
        choices.map(([key, label, run]) => button(label, key, run, { kind: key === '0' ? 'down' : 'n' })));
      return { body: h('div.pair', null, article(a, 'A'), article(b, 'B')), bar, keys: choices };
    }
    if (found.kind === 'ranking') {
      const list = ranking(answers);
      const save = () => rate([{ kind: 'ranking', levels: list.levels() }]);
      const bar = h('div.choices', null, button('Save this order', 'Enter', save, { kind: 'main' }),
        h('span.note.hint', null, h('kbd', null, `1–${answers.length}`), ' choose, ', h('kbd', null, '↑'), h('kbd', null, '↓'), ' move, ', h('kbd', null, '='), ' tie'));
      return { body: list.element, bar, keys: [...list.keys, ['Enter', 'save this order', save]] };
    }
    const [answer] = answers;
    const kinds = found.kind === 'thumb' ? ['thumb', 'edit', 'flag'] : ['stars', 'thumb', 'edit', 'flag'];
    const { element, keys } = grader({ answer: answer.answer, text: answer.text, kinds, rate });
    return { body: article(answer), bar: element, keys };
  }
}

function asked(question) {
  const body = question.html || question.body ? prose(question.html, question.body) : null;
  return h('section.question', { 'aria-label': 'The question' },
    question.title && h('h2', null, question.title), body,
    question.tags?.length > 0 && h('p.tags', null, question.tags.map((tag) => h('span.tag', null, tag))),
    attribution(question));
}
