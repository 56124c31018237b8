// Charts. Invariant: a chart without points says so in words; with points it says the same in its label as in its lines.
import { figure, fill, h } from './dom.js';

const HEIGHT = 150;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const label = (name) => name.replace(/_per_min$/, ' a minute').replace(/_s$/, '').replaceAll('_', ' ');

/**
 * A card with a chart: `{title, what, unit, lines: [series names], range?, empty}`.
 * `draw(series, marks)` shows `{name: [[t_ms, version, value], …]}` and upright lines at `marks` (ms).
 */
export function chart({ title, what, unit = '', lines, names = {}, range, empty }) {
  const legend = h('dl.legend');
  const plot = h('div.plot', { role: 'img', 'aria-label': `${title}: nothing yet` });
  const nothing = h('p.nothing-yet', null, `Nothing yet. ${empty}`);
  const card = h('section.card.chart', { 'aria-label': title }, h('h2', null, title), h('p.what', null, what), legend, nothing, plot);
  let u = null;
  let last = null;
  const values = new Map();
  const called = (name) => names[name] ?? label(name);

  for (const [at, name] of lines.entries()) {
    const value = h('dd', null, '–');
    values.set(name, value);
    legend.append(h(`div.line-${at + 1}`, null, h('dt', null, called(name)), value));
  }

  function draw(series, marks = []) {
    last = [series, marks];
    const given = lines.map((name) => (series[name] ?? []).filter(([, , value]) => Number.isFinite(value)));
    const some = given.some((points) => points.length > 0);
    nothing.hidden = some;
    plot.hidden = legend.hidden = !some;
    if (!some) { u?.destroy(); u = null; return; }
    const times = [...new Set(given.flatMap((points) => points.map(([t]) => t / 1000)))].sort((a, b) => a - b);
    const at = new Map(times.map((t, index) => [t, index]));
    const data = [times, ...given.map((points) => {
      const values = new Array(times.length).fill(null);
      for (const [t, , value] of points) values[at.get(t / 1000)] = value;
      return values;
    })];
    tell(given);
    u ??= build(data);
    u.marks = marks.map((t) => t / 1000);
    u.setData(data);
  }

  function tell(given) {
    const words = [];
    lines.forEach((name, at) => {
      const points = given[at];
      const now = points.at(-1)?.[2];
      fill(values.get(name), now === undefined ? '–' : `${figure(now)}${unit && ` ${unit}`}`);
      if (now === undefined) return;
      const all = points.map(([, , value]) => value);
      words.push(`${called(name)} ${figure(now)} now, from ${figure(Math.min(...all))} to ${figure(Math.max(...all))} in ${points.length} points`);
    });
    plot.setAttribute('aria-label', `${title}: ${words.join('; ')}`);
  }

  function build(data) {
    const axis = { stroke: colour('--faint'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' };
    const options = {
      width: Math.max(plot.clientWidth, 200), height: HEIGHT, legend: { show: false }, padding: [8, 20, 0, 0],
      cursor: { y: false, points: { size: 6 } },
      scales: { x: { range: (_, from, to) => (to > from ? [from, to] : [from - 30, to + 30]) }, y: range ? { range: () => range } : {} },
      axes: [{ ...axis, size: 26, space: 70, values: times }, { ...axis, size: 46, values: (_, ticks) => ticks.map((tick) => figure(tick)) }],
      series: [{}, ...lines.map((_, at) => ({
        stroke: colour(`--line-${at + 1}`), width: 2, spanGaps: true, dash: at === 2 ? [5, 4] : undefined,
        points: { show: data[0].length < 40, size: 4, fill: colour(`--line-${at + 1}`) },
      }))],
      hooks: { drawClear: [upright], setCursor: [hover] },
    };
    return new globalThis.uPlot(options, data, plot);
  }

  /** Rollbacks, as upright lines. */
  function upright(u) {
    u.ctx.save();
    u.ctx.strokeStyle = colour('--bad');
    u.ctx.setLineDash([3, 3]);
    for (const t of u.marks ?? []) {
      const x = Math.round(u.valToPos(t, 'x', true));
      if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
      u.ctx.beginPath();
      u.ctx.moveTo(x, u.bbox.top);
      u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
      u.ctx.stroke();
    }
    u.ctx.restore();
  }

  /** The values under the pointer; without one, the newest. */
  function hover(u) {
    const index = u.cursor.idx;
    lines.forEach((name, at) => {
      const found = u.data[at + 1];
      const value = index === null || index === undefined || u.cursor.left < 0 ? found.findLast((one) => one !== null) : found[index];
      fill(values.get(name), value === null || value === undefined ? '–' : `${figure(value)}${unit && ` ${unit}`}`);
    });
  }

  const resized = new ResizeObserver(() => { if (u && plot.clientWidth > 0) u.setSize({ width: plot.clientWidth, height: HEIGHT }); });
  resized.observe(plot);
  return {
    element: card,
    draw,
    /** Colours changed: build it again. */
    restyle() { u?.destroy(); u = null; if (last) draw(...last); },
    end() { resized.disconnect(); u?.destroy(); },
  };
}

function times(_, ticks, __, ___, step) {
  return ticks.map((tick) => {
    const when = new Date(tick * 1000);
    if (step >= 86400) return when.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' });
    return when.toLocaleTimeString('en-GB', step < 60 ? {} : { hour: '2-digit', minute: '2-digit' });
  });
}
