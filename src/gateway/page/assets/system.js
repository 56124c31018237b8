// System: is everything alive, what waits where, what is saved.
import { get } from './api.js';
import { ago, bytes, clock, counted, figure, fill, h, span } from './dom.js';
import { bind } from './keys.js';

const EVERY_MS = 2000;

export function show(main, { signal }) {
  const head = h('div.row.watch-head');
  const place = h('div.cards');
  const status = h('p.status', { role: 'status' });
  main.append(head, status, place);
  fill(head, h('h1', null, 'System'));
  let timer = null;
  signal.addEventListener('abort', () => clearTimeout(timer));
  bind([['r', 'look again', look]]);
  look();

  async function look() {
    clearTimeout(timer);
    try {
      const found = await get('/v1/status', { signal });
      if (signal.aborted) return;
      if (status.textContent) fill(status, '');
      paint(found);
    } catch (problem) {
      if (problem.name === 'AbortError') return;
      const words = `${problem.message} (tried again by itself)`;
      if (status.textContent !== words) fill(status, h('span.problem', null, words));
    }
    timer = setTimeout(look, EVERY_MS);
  }

  function paint(found) {
    const { program = {}, actors = [], links = [], reward = {}, checkpoint, resumed = {}, store } = found;
    const reasons = found.not_ready ?? [];
    const ready = reasons.length === 0;
    fill(head, h('h1', null, 'System'), h(`span.state.${ready ? 'open' : 'lost'}`, null, ready ? 'ready' : 'not ready'));
    fill(place,
      !ready && card('Not ready', h('ul.reasons', null, reasons.map((why) => h('li.problem', null, why)))),
      card('Program', facts([
        ['model', program.model], ['version', program.version], ['up for', program.uptime_s !== undefined && span(program.uptime_s)],
        ['started', program.started_ms && clock(program.started_ms)],
      ])),
      card('Learning', facts([
        ['policy', found.policy_version], ['reward model', reward.version], ['ratings heard', reward.heard], ['in its replay', reward.replay],
        ['foretold', Number.isFinite(reward.accuracy) && `${Math.round(reward.accuracy * 100)} %`],
        ['calibration error', Number.isFinite(reward.calibration_error) && figure(reward.calibration_error)],
        ['learned anew', reward.rebuilding && 'now'], ['room at the pace', found.pace_room !== undefined && counted(found.pace_room, 'sample')],
      ])),
      card('Checkpoint', checkpoint
        ? facts([['policy', checkpoint.policy_version], ['reward model', checkpoint.reward_version], ['updates', checkpoint.updates],
          ['ratings up to', checkpoint.feedback_up_to], ['saved', (checkpoint.t_ms ?? checkpoint.at) && ago(checkpoint.t_ms ?? checkpoint.at)]])
        : h('p.nothing-yet', null, 'Nothing yet since the start. One is written after an update and when the daemon drains.')),
      card('Went on from', facts([
        ['checkpoint', resumed.checkpoint ? `policy ${resumed.checkpoint.policy_version}` : 'none: it began anew'],
        ['answers kept', resumed.answers], ['ratings kept', resumed.feedback], ['to learn again', resumed.feedback_to_learn],
      ])),
      card('Actors', h('table', null,
        h('thead', null, h('tr', null, ['actor', 'now', 'restarts'].map((word) => h('th', { scope: 'col' }, word)))),
        h('tbody', null, actors.map((actor) => h('tr', null, h('th', { scope: 'row' }, actor.name),
          h('td', null, actor.given_up ? h('span.bad', null, `given up: ${actor.ended}`) : actor.ended ? actor.ended : actor.busy ? h('span.good', null, actor.busy) : h('span.faint', null, 'idle')),
          h('td.number', null, actor.restarts > 0 ? h('span.warn', null, String(actor.restarts)) : '0'))))), 'wide'),
      card('Queues', h('table', null,
        h('thead', null, h('tr', null, ['queue', 'filled', 'waiting'].map((word) => h('th', { scope: 'col' }, word)))),
        h('tbody', null, links.map((link) => h('tr', null, h('th', { scope: 'row' }, link.name),
          h('td', null, h('progress', { max: Math.max(link.capacity, 1), value: link.waiting, 'aria-label': `${link.name}: ${link.waiting} of ${link.capacity}` })),
          h('td.number', null, `${link.waiting} / ${link.capacity}`))))), 'wide'),
      store && card('Store', facts(Object.entries(store).filter(([, value]) => ['number', 'string', 'boolean'].includes(typeof value))
        .map(([key, value]) => [key.replaceAll('_', ' '), /bytes/.test(key) ? bytes(value) : value === true ? 'yes' : value === false ? 'no' : String(value)]))));
  }
}

const card = (title, body, more = '') => h(`section.card${more && `.${more}`}`, { 'aria-label': title }, h('h2', null, title), body);

function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== undefined && value !== null && value !== false && value !== '');
  return h('dl.facts', null, shown.map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, String(value)))));
}
