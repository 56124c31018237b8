// Ask: a question, its answer as it comes, and a rating at once. Invariant: while it streams, text is only ever appended;
// the formatted answer takes its place once it is whole and on disk.
import { events, get, request, Problem } from './api.js';
import { announce, button, counted, figure, fill, h, prose } from './dom.js';
import { bind } from './keys.js';
import { draft as kept } from './draft.js';
import { grader, record, takeBack } from './grade.js';
import { why, withWhy } from './why.js';

const question = kept('ask');
const reasons = kept('why');
const keep = (text) => (text ? question.set(text) : question.clear());
const draft = () => question.get() ?? '';

export function show(main, { signal, argument }) {
  const box = h('textarea', { id: 'question', rows: '3', maxlength: '20000', placeholder: 'What do you want to know?', autocomplete: 'off' });
  box.value = argument ? '' : draft();
  const send = button('Ask', '', () => ask(), { kind: 'main', title: 'Enter' });
  const stop = button('Stop', 'Esc', () => run?.abort(), { hidden: true });
  const place = h('div.answer-place');
  const composer = h('form.composer', { onsubmit: (event) => { event.preventDefault(); ask(); } },
    h('label', { for: 'question' }, 'Your question'), box,
    h('div.row', null, send, stop, h('span.note.hint', null, h('kbd', null, 'Enter'), ' asks, ', h('kbd', null, 'Shift'), ' ', h('kbd', null, 'Enter'), ' begins a new line')));
  main.append(h('h1.unseen', null, 'Ask'), composer, place);
  let run = null;
  const undo = [];

  box.addEventListener('input', () => keep(box.value));
  box.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) { event.preventDefault(); ask(); }
  });
  document.addEventListener('keydown', (event) => { if (event.key === 'Escape' && run) run.abort(); }, { signal });
  signal.addEventListener('abort', () => run?.abort());
  const write = () => { box.focus(); box.select(); };
  const base = [['n', 'a new question', () => { box.value = ''; keep(''); write(); }], ['/', 'to the question', write]];
  bind(base);

  async function ask() {
    const question = box.value.trim();
    if (!question || run) return;
    run = new AbortController();
    const live = h('p.streaming', { 'aria-busy': 'true' });
    const status = h('p.status', { role: 'status' }, 'waiting for the first word…');
    fill(place, h('article.answer', null, h('h2.asked', null, question), live, status));
    send.disabled = true;
    stop.hidden = false;
    bind([...base, ['Escape', 'stop the answer', () => run?.abort()]]);
    box.blur();
    let [answer, version, text, words] = [null, null, '', 0];
    try {
      const response = await request('POST', '/v1/chat/completions',
        { messages: [{ role: 'user', content: question }], stream: true, stream_options: { include_usage: true } }, { signal: run.signal });
      for await (const { data } of events(response)) {
        if (data === '[DONE]') break;
        const chunk = JSON.parse(data);
        if (chunk.error) throw new Problem(502, chunk.error.message ?? 'the answer broke off');
        version = chunk.system_fingerprint?.replace('policy-', '') ?? version;
        const choice = chunk.choices?.[0];
        if (choice?.delta?.content) {
          live.append(document.createTextNode(choice.delta.content));
          text += choice.delta.content;
          words += 1;
          status.textContent = `policy ${version}`;
        }
        if (choice?.answer_id !== undefined) answer = choice.answer_id;
      }
      if (answer === null) throw new Problem(502, 'the answer broke off before it was whole; ask again');
      keep('');
      box.value = '';
      history.replaceState(null, '', `#/ask/${answer}`);
      await whole(answer, { question, text, version });
    } catch (problem) {
      const stopped = problem.name === 'AbortError';
      live.removeAttribute('aria-busy');
      if (signal.aborted) return;
      fill(status, stopped ? h('span.note', null, 'stopped; what was not finished is not kept') : h('span.problem', null, problem.message));
    } finally {
      run = null;
      send.disabled = false;
      stop.hidden = true;
      if (answer === null) bind(base);
    }
  }

  /** Shows an answer that is on disk, with its ratings' buttons. */
  async function whole(id, known) {
    let answer = null;
    try { answer = await get(`/v1/answers/${id}`, { signal }); } catch (problem) {
      if (problem.name === 'AbortError') return;
      if (!known) {
        fill(place, h('p.problem', null, problem.message));
        return;
      }
    }
    if (signal.aborted) return;
    const text = answer?.text ?? known?.text ?? '';
    const asked = known?.question ?? plain(answer?.question);
    const version = answer?.version ?? known?.version;
    const status = h('p.status', { role: 'status' });
    const changed = (answer?.spans ?? []).length > 1;
    const about = h('p.note.about', null, `answer ${id} · policy ${changed ? answer.spans.map((span) => span.version).join(' → ') : version}`,
      changed && ' (it learned under way)', answer?.tokens && ` · ${counted(answer.tokens, 'token')}`, answer?.finish === 'length' && ' · cut at the longest length',
      answer?.feedback?.length > 0 && ` · ${counted(answer.feedback.length, 'rating')} so far`);
    const reason = why(() => reasons.set({ answer: id, text: reason.text() }));
    const rate = async (list) => {
      const ids = await record(withWhy(list, reason.text()), status, `answer ${id} by policy ${version}`);
      if (ids) {
        undo.push(ids);
        reason.clear();
        reasons.clear();
      }
      back.hidden = !undo.length;
      if (ids && status.querySelector('.saved')) learned(ids.at(-1), status);
    };
    const takeLast = async () => {
      if (!undo.length) return;
      if (await takeBack(undo.at(-1), status)) undo.pop();
      back.hidden = !undo.length;
    };
    const { element, keys } = grader({ answer: id, text, kinds: ['stars', 'thumb', 'edit', 'flag'], rate });
    const back = button('Undo', 'z', takeLast, { hidden: !undo.length });
    const begun = reasons.get();
    if (begun?.answer === id) reason.write(begun.text);
    fill(place, h('article.answer', null, asked && h('h2.asked', null, asked), prose(answer?.html, text || '(an empty answer)'), about,
      reason.element, element, h('div.row.after', null, status, h('div.side', null, reason.opener, back))));
    bind([...keys, ...reason.keys, ['z', 'take the last rating back', takeLast], ...base]);
    if (known) announce('The answer is whole. Rate it with 1 to 5, u or d.');
  }

  /** Says when the reward model has learned from a rating. */
  async function learned(rating, status) {
    const began = performance.now();
    const mine = status.firstChild;
    while (!signal.aborted && status.firstChild === mine && performance.now() - began < 30000) {
      await new Promise((done) => { setTimeout(done, 200); });
      const found = await get(`/v1/feedback/${encodeURIComponent(rating)}`, { signal }).catch(() => null);
      if (!found?.heard || status.firstChild !== mine) continue;
      status.append(h('span.note', null, ` · learned after ${figure((performance.now() - began) / 1000, 2)} s`));
      return;
    }
  }

  if (argument && /^\d+$/.test(argument)) whole(Number(argument));
  else box.focus();
}

const plain = (question) => question && (question.title || question.body || '');
