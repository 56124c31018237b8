// Watch: the learning as it goes. Invariant: what is drawn comes from the daemon's history, so a reload shows the same;
// events only say when to look again, and fill the list.
import { follow, get } from './api.js';
import { chart } from './charts.js';
import { ago, clock, figure, fill, h, counted } from './dom.js';
import { bind } from './keys.js';

const MOST_EVENTS = 120;
const LOOK_AGAIN_MS = 1200;

const CHARTS = [
  { title: 'Reward', what: 'What the reward model gives new answers.', lines: ['reward', 'gold'],
    names: { gold: 'gold (simulated people only)' }, empty: 'It begins with the first answer that is scored.' },
  { title: 'KL to where it began', what: 'How far the policy has moved.', unit: 'nats', lines: ['kl'], empty: 'It begins with the first update of the policy.' },
  { title: 'Entropy', what: 'How open the policy keeps its choices; a fall to 0 is collapse.', unit: 'nats', lines: ['entropy'], empty: 'It begins with the first update of the policy.' },
  { title: 'Ratings foretold', what: 'Share of ratings the reward model foretold before it learned from them, and how far its certainty was off.',
    lines: ['reward_accuracy', 'calibration_error'], names: { reward_accuracy: 'foretold', calibration_error: 'calibration error' }, range: [0, 1],
    empty: 'It begins when ratings are heard.' },
  { title: 'Surprise', what: 'Log-loss of the same predictions, and the loss it learned with.', unit: 'nats', lines: ['reward_log_loss', 'reward_loss'],
    names: { reward_log_loss: 'foretold', reward_loss: 'learned' }, empty: 'It begins when ratings are heard.' },
  { title: 'Openness and collapse', what: 'Whether the reward model still tells open from closed questions.', lines: ['collapse_index', 'd_types', 'd_want'],
    names: { d_types: 'difference of types', d_want: 'difference wanted' }, empty: 'It is measured once there is enough to compare.' },
  { title: 'Agreement', what: 'How well the annotators agree with one another.', lines: ['annotator_agreement'], empty: 'It needs two people who rated the same answers.' },
  { title: 'Throughput', what: 'Answers and ratings.', unit: '', lines: ['answers_per_min', 'ratings_per_min'], names: { answers_per_min: 'answers a minute', ratings_per_min: 'ratings a minute' }, empty: 'It begins with the first answer.' },
  { title: 'Speed', what: 'Tokens sampled.', unit: 'tokens/s', lines: ['tokens_per_s'], empty: 'It begins with the first answer.' },
  { title: 'From rating to answer', what: 'How long until a rating is learned, and until new weights say their first word.', unit: 's',
    lines: ['heard_to_learned_s', 'publish_to_first_token_s'], names: { heard_to_learned_s: 'rating learned', publish_to_first_token_s: 'first token of new weights' }, empty: 'It begins with the first rating.' },
  { title: 'Losses', what: 'Of the policy and of its value model.', lines: ['policy_loss', 'value_loss'], empty: 'It begins with the first update of the policy.' },
  { title: 'KL price', what: 'What a nat of KL costs.', lines: ['kl_coef'], empty: 'It begins with the first update of the policy.' },
];

export function show(main, { signal }) {
  const state = h('span.state', { role: 'status' }, 'connecting…');
  const newest = h('p.note.newest');
  const strip = h('div.strip-line');
  const told = h('ol.told');
  const list = h('ol.events', { tabIndex: 0, 'aria-label': 'Events, newest first' });
  const charts = CHARTS.map(chart);
  const minor = h('input', { id: 'minor', type: 'checkbox' });
  minor.addEventListener('change', () => list.classList.toggle('with-minor', minor.checked));
  main.append(
    h('div.row.watch-head', null, h('h1', null, 'Watch'), state, newest),
    h('section.card.timeline', { 'aria-label': 'Versions and rollbacks' }, h('h2', null, 'Versions and rollbacks'), strip, told),
    h('div.charts', null, charts.map((one) => one.element)),
    h('section.card.happened', { 'aria-label': 'Events' },
      h('div.row', null, h('h2', null, 'Events'), h('span.spacer'), minor, h('label', { for: 'minor' }, 'answers and scores too')), list));
  fill(list, h('li.nothing-yet', null, 'Nothing yet since this page was opened.'));
  bind([['r', 'look again', () => look()], ['v', 'answers and scores too', () => minor.click()]]);
  signal.addEventListener('abort', () => { clearTimeout(timer); clearInterval(ticking); charts.forEach((one) => one.end()); });
  document.addEventListener('understudy:theme', () => charts.forEach((one) => one.restyle()), { signal });
  let timer = null;
  let looking = false;
  let last = 0;
  const tick = () => fill(newest, last ? `last change ${ago(last)}` : '');
  const ticking = setInterval(tick, 5000);

  async function look() {
    clearTimeout(timer);
    timer = null;
    if (looking) return;
    looking = true;
    try {
      const { series = {}, timeline = [] } = await get('/v1/history', { signal });
      if (signal.aborted) return;
      const rollbacks = timeline.filter((entry) => /rollback/.test(entry.kind)).map((entry) => entry.t_ms);
      charts.forEach((one) => one.draw(series, rollbacks));
      paint(timeline, series.kl ?? []);
      last = Math.max(last, ...Object.values(series).map((points) => points.at(-1)?.[0] ?? 0), timeline.at(-1)?.t_ms ?? 0);
      tick();
    } catch (problem) {
      if (problem.name !== 'AbortError') fill(state, problem.message);
    } finally {
      looking = false;
    }
  }

  function paint(timeline, updates) {
    // Each update of the policy left a point under the version that it published.
    const versions = updates.map(([t_ms, version]) => ({ t_ms, kind: 'policy_update', text: `policy ${version} published` }));
    const rare = timeline.filter((entry) => entry.kind !== 'checkpoint');
    const inOrder = (entries) => entries.sort((a, b) => a.t_ms - b.t_ms);
    const sorted = inOrder([...rare, ...versions]);
    // Many versions must not hide what went wrong between them.
    const listed = inOrder([...rare.slice(-5), ...versions.slice(-5)]);
    if (!sorted.length) {
      fill(strip);
      fill(told, h('li.nothing-yet', null, 'Nothing yet. The policy serves as it began; its first update stands here.'));
      return;
    }
    const [from, to] = [sorted[0].t_ms, Math.max(sorted.at(-1).t_ms, sorted[0].t_ms + 1)];
    const dots = sorted.map((entry) => {
      const dot = h(`span.dot.${tone(entry.kind)}`, { title: `${clock(entry.t_ms)} ${entry.text}` });
      dot.style.left = `${((entry.t_ms - from) / (to - from)) * 100}%`;
      return dot;
    });
    fill(strip, h('span.rail', { 'aria-hidden': 'true' }, dots), h('span.from', null, clock(from)), h('span.to', null, clock(sorted.at(-1).t_ms)));
    fill(told, listed.reverse().map((entry) => h('li', null, h('time', null, clock(entry.t_ms)), h(`span.${tone(entry.kind)}`, null, entry.text))));
  }

  function happened({ event, data }) {
    let said;
    try { said = JSON.parse(data); } catch { return; }
    const kind = said.event ?? event;
    const t = said.t_ms ?? Date.now();
    last = Math.max(last, t);
    const words = sentence(kind, said);
    if (words) {
      list.querySelector('.nothing-yet')?.remove();
      const quiet = kind === 'answered' || kind === 'scored' || kind === 'gold' || kind === 'first_token';
      list.prepend(h(`li${quiet ? '.minor' : ''}`, null, h('time', null, clock(t)), h(`span.${tone(kind)}`, null, words)));
      while (list.children.length > MOST_EVENTS) list.lastChild.remove();
    }
    timer ??= setTimeout(look, LOOK_AGAIN_MS);
  }

  look();
  follow('/v1/events', {
    signal,
    onevent: happened,
    onstate: (now) => {
      state.className = `state ${now}`;
      fill(state, now === 'open' ? 'live' : 'connection lost; it is tried again');
      if (now === 'open') look();
    },
  });
}

/** Good, bad or neither. */
function tone(kind) {
  if (/rollback|trouble/.test(kind)) return 'bad';
  if (kind === 'stage') return 'plain';
  if (/alarm/.test(kind)) return 'warn';
  if (/policy_update|published|policy/.test(kind)) return 'good';
  return 'plain';
}

/** One event in words. */
export function sentence(kind, e) {
  const f = e.feedback ?? {};
  switch (kind) {
    case 'answered': return `answer ${e.answer} by policy ${e.version}: ${counted(e.tokens ?? 0, 'token')}`;
    case 'first_token': return `policy ${e.version} said its first word ${figure(e.seconds)} s after it was published`;
    case 'rated': return `${f.annotator ?? 'somebody'} gave ${rating(f)}`;
    case 'scored': return `answers of group ${e.group} scored ${figure(e.mean_score)} by reward model ${e.version}`;
    case 'reward_update': return `reward model ${e.version} learned from ${counted(e.report?.events ?? 0, 'rating')}`
      + `${e.prequential_accuracy === null || e.prequential_accuracy === undefined ? '' : `; foretold ${Math.round(e.prequential_accuracy * 100)} %`}`;
    case 'reward_rebuilt': return `reward model ${e.version} was learned anew without what was taken back`;
    case 'reward_alarm': return `${e.alarm} alarm ${e.on ? 'raised' : 'over'}: ${e.why}`;
    case 'policy_update': return `policy ${e.version} published: reward ${figure(e.report?.mean_reward)}, KL ${figure(e.report?.kl_per_sequence)} nats`;
    case 'policy_rollback': return `policy rolled back to the weights of ${e.weights_of}, now ${e.version}: ${e.why}`;
    case 'stage': return e.text;
    case 'checkpoint': return `checkpoint ${e.step} committed (policy ${e.policy_version}, reward model ${e.reward_version})`;
    case 'trouble': return `${e.actor}: ${e.what}`;
    case 'gold': return `gold ${figure(e.gold)} for answer ${e.answer}`;
    default: return null;
  }
}

function rating(f) {
  switch (f.kind) {
    case 'stars': return `${counted(f.stars, 'star')} to answer ${f.answer}`;
    case 'thumb': return `a thumb ${f.up ? 'up' : 'down'} to answer ${f.answer}`;
    case 'pair': return `answer ${f.better} before ${f.worse}`;
    case 'ranking': return `an order: ${(f.levels ?? []).map((level) => level.join(' = ')).join(' > ')}`;
    case 'edit': return `a better text for answer ${f.answer}`;
    case 'flag': return `a flag to answer ${f.answer}`;
    case 'retract': return 'a rating back';
    default: return `${f.kind ?? 'a rating'}${f.answer === undefined ? '' : ` to answer ${f.answer}`}`;
  }
}
