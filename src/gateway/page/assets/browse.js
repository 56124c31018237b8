// Browse: questions and their answers by version, with author, source and licence beside every question.
import { get } from './api.js';
import { attribution, button, counted, figure, fill, h, prose } from './dom.js';
import { bind } from './keys.js';

const PAGE = 20;

export function show(main, { signal, argument }) {
  const field = h('input', { id: 'search', type: 'search', value: argument || '', placeholder: 'words in the question', autocomplete: 'off' });
  const list = h('div.questions');
  const foot = h('div.row.middle');
  const status = h('p.status', { role: 'status' });
  main.append(h('h1.unseen', null, 'Browse'),
    h('form.search', { role: 'search', onsubmit: (event) => { event.preventDefault(); begin(); } },
      h('label', { for: 'search' }, 'Search'), field, h('button', { type: 'submit' }, 'Search')), status, list, foot);
  let timer = null;
  let generation = 0;
  let first = null;
  field.addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(begin, 300); });
  signal.addEventListener('abort', () => clearTimeout(timer));
  bind([['/', 'search', () => { field.focus(); field.select(); }], ['o', 'older questions', () => foot.querySelector('button')?.click()]]);
  begin();

  function begin() {
    clearTimeout(timer);
    const words = field.value.trim();
    history.replaceState(null, '', words ? `#/browse/${encodeURIComponent(words)}` : '#/browse');
    list.replaceChildren();
    first = null;
    more(null, ++generation);
  }

  async function more(before, of) {
    const words = field.value.trim();
    const query = new URLSearchParams({ limit: String(PAGE) });
    if (words) query.set('search', words);
    if (before !== null) query.set('before', String(before));
    fill(foot);
    let found;
    try { found = await get(`/v1/questions?${query}`, { signal }); } catch (problem) {
      if (problem.name !== 'AbortError') fill(status, h('span.problem', null, problem.message));
      return;
    }
    if (signal.aborted || of !== generation) return;
    fill(status, '');
    const items = found.items ?? [];
    if (!items.length && !list.children.length) {
      list.append(h('div.nothing', null, h('p.big', null, words ? 'Nothing found.' : 'Nothing yet.'),
        h('p.note', null, words ? 'Other words may do better.' : 'Questions stand here once they are answered.')));
      return;
    }
    for (const question of items) list.append(entry(question, first === null && question === items[0]));
    first ??= items[0] ?? null;
    if (found.next !== null && found.next !== undefined) fill(foot, button('Older', 'o', () => more(found.next, of)));
  }
}

function entry(question, open) {
  const answers = [...(question.answers ?? [])].sort((a, b) => a.version - b.version || a.answer - b.answer);
  const versions = [...new Set(answers.map((answer) => answer.version))];
  const ratings = answers.reduce((sum, answer) => sum + (Number(answer.ratings?.length ?? answer.ratings) || 0), 0);
  const title = question.title || firstLine(question.body) || question.id;
  const facts = [counted(answers.length, 'answer'), versions.length === 1 ? `policy ${versions[0]}` : versions.length > 1 && `policies ${versions[0]}–${versions.at(-1)}`,
    ratings > 0 && counted(ratings, 'rating')].filter(Boolean).join(' · ');
  const body = h('div.entry-body');
  const details = h('details.entry', { open }, h('summary', null, h('span.title', null, title), h('span.note', null, facts)), attribution(question), body);
  let built = false;
  // What nobody opens is not built.
  const build = () => {
    if (built || !details.open) return;
    built = true;
    const long = question.html || question.body;
    fill(body, long && (question.title || question.body !== title) && prose(question.html, question.body),
      question.tags?.length > 0 && h('p.tags', null, question.tags.map((tag) => h('span.tag', null, tag))),
      h('div.versions', null, answers.map(column)));
  };
  details.addEventListener('toggle', build);
  build();
  return details;
}

function column(answer) {
  const spans = answer.spans ?? [];
  const version = spans.length > 1 ? spans.map((span) => span.version).join(' → ') : answer.version;
  const ratings = Number(answer.ratings?.length ?? answer.ratings) || 0;
  const score = Number.isFinite(answer.score) && h('span', { title: 'What the reward model gives it' }, `score ${figure(answer.score, 2)}${Number.isFinite(answer.score_std) ? ` ± ${figure(answer.score_std, 2)}` : ''}`);
  return h('article.answer', { 'aria-label': `Answer ${answer.answer} by policy ${version}` },
    h('p.facts', null, h('b', null, `policy ${version}`), h('a', { href: `#/ask/${answer.answer}`, 'aria-label': `#${answer.answer}: open this answer` }, `#${answer.answer}`),
      score, ratings > 0 && h('span', null, counted(ratings, 'rating')), answer.finish === 'length' && h('span', null, 'cut')),
    prose(answer.html, answer.text || '(empty)'));
}

const firstLine = (text) => (text ?? '').split('\n')[0].slice(0, 160);
