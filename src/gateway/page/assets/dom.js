// Building what is seen. Invariant: text is text; only `prose` takes markup, and only what the daemon has sanitised.

/** An element: `h('p.note', {title: 'x', onclick: f}, 'text', child, …)`. Falsy children are left out. */
export function h(what, props, ...children) {
  const [tag, ...classes] = what.split('.');
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(' ');
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== 'string') element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  add(element, children);
  return element;
}

/** Appends children: nodes, text, lists of them; falsy ones are left out. */
export function add(element, children) {
  for (const child of children.flat(3)) {
    if (child === undefined || child === null || child === false || child === '') continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/** Puts children in the place of what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

/** Formatted text: the daemon's sanitised `html`, or the plain text where there is none. */
export function prose(html, text) {
  const element = h('div.prose');
  if (!html) {
    element.append(h('p.plain', null, text ?? ''));
    return element;
  }
  element.innerHTML = html;
  for (const link of element.querySelectorAll('a[href]')) {
    link.target = '_blank';
    link.rel = 'noopener noreferrer nofollow';
  }
  for (const table of element.querySelectorAll('table, pre')) table.tabIndex = 0;
  return element;
}

/** A button that shows its key. */
export function button(label, key, onclick, more = {}) {
  const { kind = '', ...props } = more;
  const shown = key && h('kbd', { 'aria-hidden': 'true' }, more.shown ?? key);
  delete props.shown;
  return h(`button${kind ? `.${kind}` : ''}`, { type: 'button', 'aria-keyshortcuts': key || undefined, onclick, ...props }, label, shown);
}

/** Tells it to screen readers, without a change on the screen. */
export function announce(text) {
  const live = document.getElementById('live');
  live.textContent = '';
  // A change that comes a moment later is read even when the words are the same.
  setTimeout(() => { live.textContent = text; }, 30);
}

/** `3 answers`, `1 answer`. */
export const counted = (n, one, many = `${one}s`) => `${n.toLocaleString('en')} ${n === 1 ? one : many}`;

/** A figure short enough for a heading. */
export function figure(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(1).replace('e+', 'e');
  if (size >= 1000) return Math.round(value).toLocaleString('en');
  return String(Number(value.toPrecision(digits)));
}

/** The time of day; with the date when it was not today. */
export function clock(ms) {
  const when = new Date(ms);
  const time = when.toLocaleTimeString('en-GB');
  return when.toDateString() === new Date().toDateString() ? time : `${when.toLocaleDateString('en-GB')} ${time}`;
}

/** `3 min ago`. */
export function ago(ms, now = Date.now()) {
  const s = Math.max(0, Math.round((now - ms) / 1000));
  if (s < 5) return 'just now';
  return `${span(s)} ago`;
}

/** `45 s`, `12 min`, `3 h`, `2 days`. */
export function span(s) {
  if (s < 90) return `${Math.round(s)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 129600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} days`;
}

/** `1.2 MB`. */
export function bytes(n) {
  if (!Number.isFinite(n)) return '–';
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let at = 0;
  while (n >= 1000 && at < units.length - 1) { n /= 1000; at += 1; }
  return `${at ? n.toFixed(1) : n} ${units[at]}`;
}

/** The author, the source, the licence and the terms of a question, as its licence asks. */
export function attribution(question) {
  const outside = (href, text) => h('a', { href, target: '_blank', rel: 'noopener noreferrer' }, text);
  const web = (href) => (typeof href === 'string' && /^https?:\/\//.test(href) ? href : null);
  const by = question.author?.name ?? (typeof question.author === 'string' ? question.author : null);
  const site = question.source && h('span', null, question.source);
  const parts = [
    by && h('span', null, 'asked by ', web(question.author?.url) ? outside(question.author.url, by) : h('b', null, by)),
    web(question.url) ? outside(question.url, question.source ? `original at ${question.source}` : 'original') : site,
    question.licence && licence(question.licence, outside),
    // What CC BY-SA asks: that something was changed, and what.
    question.url && /^CC BY/i.test(question.licence ?? '') && h('span', null, 'changed: HTML to Markdown'),
    question.terms && h('span', null, `had under: ${question.terms}`),
    question.asked_ms > 0 && h('time', { datetime: new Date(question.asked_ms).toISOString() }, new Date(question.asked_ms).toLocaleDateString('en-GB')),
  ].filter(Boolean);
  return h('p.attribution', null, parts.flatMap((part, at) => (at ? [' · ', part] : [part])));
}

function licence(name, outside) {
  const known = /^CC BY-SA (\d\.\d)$/i.exec(name.trim());
  return known ? outside(`https://creativecommons.org/licenses/by-sa/${known[1]}/`, name) : h('span', null, name);
}
