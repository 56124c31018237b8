// Rate: one answer, pair or list after the other. Invariant: who rates sees neither version nor score; the next task
// comes only when the last rating is saved or kept in this browser; what was begun survives a reload.
import { get, post } from './api.js';
import { add, announce, attribution, button, fill, h, prose } from './dom.js';
import { draft } from './draft.js';
import { grader, record, takeBack } from './grade.js';
import { bind } from './keys.js';
import { name } from './person.js';
import { ranking } from './ranking.js';
import { why, withWhy } from './why.js';

const KINDS = [['any', 'Anything'], ['stars', 'Stars'], ['thumb', 'Thumbs'], ['pair', 'Pairs'], ['ranking', 'Rankings']];
const KIND = 'understudy.kind';
const POLL_MS = 2500;
const begun = draft('rate');
// What can still be taken back, also after a reload.
const given = draft('given');
const MOST_UNDO = 10;

export function show(main, { signal, argument }) {
  let kind = KINDS.some(([one]) => one === argument) ? argument : remembered();
  let task = null;
  let busy = false;
  let timer = null;
  let list = null;
  const undo = [given.get()].flat().filter((one) => one?.by === name());
  const reason = why(() => keep());
  const waiting = h('span.note.count');
  const status = h('p.status', { role: 'status' });
  const place = h('div.task');
  const chips = KINDS.map(([one, label]) => h('button.chip', { type: 'button', 'data-kind': one, onclick: () => choose(one) }, label));
  main.append(h('h1.unseen', null, 'Rate'),
    h('div.row.rate-head', null, h('div.chips', { role: 'group', 'aria-label': 'What to rate' }, chips), waiting), place, status);
  signal.addEventListener('abort', () => clearTimeout(timer));
  mark();
  next();

  /** What was begun on the task: it is there again after a reload, and after an undo. */
  const state = () => ({ task: task.task, list: list?.state(), why: reason.text() });
  function keep() { if (task) begun.set(state()); }
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

  async function rate(ratings) {
    if (busy || !task) return;
    busy = true;
    const [done, was] = [task, state()];
    const ids = await record(withWhy(ratings, was.why), status);
    busy = false;
    if (!ids) return;
    task = null;
    begun.clear();
    undo.push({ by: name(), ids, task: done, was });
    given.set(undo.slice(-MOST_UNDO));
    announce('saved, the next one');
    if (!signal.aborted) next(done.answers.map(({ answer }) => answer));
  }

  async function skip() {
    if (busy || !task) return;
    busy = true;
    const skipped = task;
    try {
      await post(`/v1/tasks/${encodeURIComponent(skipped.task)}/skip`, { annotator: name() });
      begun.clear();
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
      given.set(undo.slice(-MOST_UNDO));
      busy = false;
      clearTimeout(timer);
      begun.set(last.was);
      paint(last.task);
      return;
    }
    busy = false;
  }

  /** Shows a task; its buttons and keys follow from its kind. */
  function paint(found) {
    [task, list] = [found, null];
    const was = begun.get();
    reason.clear();
    fill(waiting, found.waiting > 0 ? `${found.waiting} waiting` : '');
    const { question, answers } = found;
    const general = [...reason.keys, ['s', 'skip it', skip], ['z', 'take the last rating back', back]];
    const { body, bar, keys } = parts(found, answers);
    if (was?.task === found.task) {
      list?.restore(was.list);
      reason.write(was.why);
    }
    const side = h('div.side', null, reason.opener, button('Skip', 's', skip, { kind: 'quiet' }), undo.length > 0 && button('Undo', 'z', back, { kind: 'quiet' }));
    fill(place, asked(question), body, h('div.actions', null, reason.element, bar, side));
    bind([...keys, ...general]);
  }

  function parts(found, answers) {
    const article = (answer, label) => h('article.answer', { 'data-answer': String(answer.answer), 'aria-label': label ? `Answer ${label}` : 'The answer' },
      label && h('h3.label', { 'aria-hidden': 'true' }, label), prose(answer.html, answer.text));
    const down = (answer) => ({ kind: 'thumb', answer: answer.answer, up: false });
    // Not a tie: each is bad for itself, and none is better.
    const bad = () => rate(answers.map(down));
    if (found.kind === 'pair') {
      const [a, b] = answers;
      const pair = (better, worse, strength) => () => rate([{ kind: 'pair', better: better.answer, worse: worse.answer, strength }]);
      const choices = [
        ['1', 'A much better', pair(a, b, 2)], ['2', 'A better', pair(a, b, 1)],
        ['3', 'Equal', () => rate([{ kind: 'ranking', levels: [[a.answer, b.answer]] }])],
        ['4', 'B better', pair(b, a, 1)], ['5', 'B much better', pair(b, a, 2)],
        ['0', 'Both bad', bad],
      ];
      const bar = h('div.choices', { role: 'group', 'aria-label': 'Which is better?' },
        choices.map(([key, label, run]) => button(label, key, run, { kind: key === '0' ? 'down' : 'n' })));
      return { body: h('div.pair', null, article(a, 'A'), article(b, 'B')), bar, keys: choices };
    }
    if (found.kind === 'ranking') {
      list = ranking(answers, keep);
      const mine = list;
      const save = () => {
        const levels = mine.levels();
        if (levels.flat().length >= 2) rate([{ kind: 'ranking', levels }]);
        else fill(status, h('span.problem', null, 'rank two at least, or say that the rest is worse'));
      };
      const key = (one) => h('kbd', null, one);
      const hint = [key(`1–${answers.length}`), ' choose, ', key('↑'), key('↓'), ' move, ', key('='), ' tie, ', key('x'), ' leave out'];
      const bar = h('div.choices', null, button('Save this order', 'Enter', save, { kind: 'main' }),
        button('All bad', '0', bad, { kind: 'down' }), h('span.note.hint', null, hint));
      return { body: list.element, bar, keys: [...list.keys, ['Enter', 'save this order', save], ['0', 'all bad', bad]] };
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
