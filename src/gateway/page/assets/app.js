// The frame: which page is shown, the theme, the keys that hold everywhere.
import { counted, fill, h } from './dom.js';
import { always, bind, help } from './keys.js';
import { welcome } from './person.js';
import { flush, onwaiting } from './ratings.js';
import * as ask from './ask.js';
import * as rate from './rate.js';
import * as watch from './watch.js';
import * as browse from './browse.js';
import * as system from './system.js';

const pages = { ask, rate, watch, browse, system };
const main = document.getElementById('main');
let leave = null;

/** Shows the page that the address names: `#/rate`, `#/browse/words`. */
function route() {
  const [wanted, ...rest] = location.hash.replace(/^#\/?/, '').split('/');
  const name = Object.hasOwn(pages, wanted) ? wanted : 'ask';
  leave?.abort();
  leave = new AbortController();
  bind([]);
  main.replaceChildren();
  main.className = name;
  document.title = `${name[0].toUpperCase()}${name.slice(1)} · Understudy`;
  for (const link of document.querySelectorAll('header nav a')) {
    if (link.getAttribute('href') === `#/${name}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  let argument = rest.join('/');
  try { argument = decodeURIComponent(argument); } catch { /* as it is */ }
  pages[name].show(main, { signal: leave.signal, argument });
  scrollTo(0, 0);
}

const dark = () => (document.documentElement.dataset.theme
  ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')) === 'dark';

function toggle() {
  const next = dark() ? 'light' : 'dark';
  document.documentElement.dataset.theme = next;
  try { localStorage.setItem('understudy.theme', next); } catch { /* for this visit */ }
  sign();
}

function sign() {
  const button = document.getElementById('theme');
  fill(button, dark() ? '☀' : '☾');
  button.setAttribute('aria-label', dark() ? 'Change to light' : 'Change to dark');
  document.dispatchEvent(new CustomEvent('understudy:theme'));
}

function waiting(count) {
  document.getElementById('waiting')?.remove();
  if (!count) return;
  document.querySelector('.tools').prepend(h('button.waiting', {
    type: 'button', id: 'waiting', onclick: () => flush(), title: 'They are kept in this browser and sent again by themselves',
  }, `${counted(count, 'rating')} to send`));
}

const go = (name) => () => { location.hash = `#/${name}`; };
always([
  ['?', 'this list', help],
  ['g a', 'Ask', go('ask')], ['g r', 'Rate', go('rate')], ['g w', 'Watch', go('watch')],
  ['g b', 'Browse', go('browse')], ['g s', 'System', go('system')],
  ['t', 'light or dark', toggle],
]);
document.getElementById('help').addEventListener('click', help);
document.getElementById('theme').addEventListener('click', toggle);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', sign);
addEventListener('hashchange', route);
welcome();
onwaiting(waiting);
sign();
route();
