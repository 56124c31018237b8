// Who rates. Invariant: a name is asked for once; until then, and without an answer, it is `me`.
import { h, fill } from './dom.js';
import { ontoken, setToken, token } from './api.js';

const NAME = 'understudy.name';
const stored = () => { try { return localStorage.getItem(NAME); } catch { return null; } };

/** The name under which ratings are kept. */
export const name = () => stored() ?? 'me';

function setName(value) {
  const clean = value.replace(/\p{Cc}/gu, '').trim().slice(0, 40) || 'me';
  try { localStorage.setItem(NAME, clean); } catch { /* it lasts for this visit only */ }
  show();
}

function show() {
  const who = document.getElementById('who');
  fill(who, h('span.who', null, name()));
  who.setAttribute('aria-label', `${name()}: your name and access`);
}

/** Asks a new annotator once, without being in the way. */
export function welcome() {
  show();
  document.getElementById('who').addEventListener('click', () => settings());
  ontoken(settings);
  if (stored() !== null) return;
  const strip = document.getElementById('strip');
  const field = h('input', { id: 'name', value: 'me', maxlength: '40', autocomplete: 'nickname', size: '12' });
  const form = h('form', {
    onsubmit: (event) => { event.preventDefault(); setName(field.value); strip.hidden = true; document.getElementById('main').focus(); },
  }, h('label', { for: 'name' }, 'Your ratings are kept under a name: '), field, h('button', { type: 'submit' }, 'Keep it'));
  fill(strip, form);
  strip.hidden = false;
}

/** The dialog for the name and, where the daemon asks for one, the access token; whether a token was given. */
function settings(problem) {
  document.querySelector('dialog.person')?.close();
  const person = h('input', { id: 'person', value: name(), maxlength: '40', autocomplete: 'nickname' });
  const access = h('input', { id: 'access', type: 'password', value: token(), autocomplete: 'off', spellcheck: 'false', 'aria-describedby': problem && 'person-why' });
  const form = h('form', { method: 'dialog', onsubmit: () => { setName(person.value); setToken(access.value.replace(/[^\x21-\x7e]/g, '')); } },
    h('h2', { id: 'person-title' }, problem ? 'A token is needed' : 'You'),
    problem && h('p.problem', { id: 'person-why', role: 'alert' }, problem),
    h('label', { for: 'person' }, 'Name for your ratings'), person,
    h('label', { for: 'access' }, 'Access token, if this daemon asks for one'), access,
    h('p.note', null, 'Both stay in this browser. A token is made with ', h('code', null, 'understudy token create'), '.'),
    h('div.row', null, h('button.main', { type: 'submit', value: 'kept' }, 'Keep'), h('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel')));
  const dialog = document.body.appendChild(h('dialog.person', { 'aria-labelledby': 'person-title' }, form));
  const closed = new Promise((done) => {
    dialog.addEventListener('close', () => {
      dialog.remove();
      done(dialog.returnValue === 'kept' && token() !== '');
    });
  });
  dialog.showModal();
  if (problem) { access.focus(); access.select(); }
  return closed;
}
