// Giving ratings. Invariant: a rating is written down here before it is sent, under the id it is sent with each time, and
// struck out only when the daemon has said 200 or that it will never take it; they go out in the order they were given.
import { Problem, post } from './api.js';
import { name } from './person.js';

const KEY = 'understudy.waiting';
const MOST = 500;
const hearers = new Set();
const later = new Map();
let unsaved = [];
let sending = null;

const read = () => { try { return JSON.parse(localStorage.getItem(KEY)) ?? []; } catch { return unsaved; } };
function write(list) {
  unsaved = list;
  try { localStorage.setItem(KEY, JSON.stringify(list)); } catch { /* memory must do */ }
  for (const hear of hearers) hear(list.length);
}

/** Calls `hear` with how many ratings wait to be sent, now and at each change. */
export function onwaiting(hear) {
  hearers.add(hear);
  hear(read().length);
}

/** An id that no other rating has. */
export function newId() {
  const random = crypto.getRandomValues(new Uint8Array(12));
  return `page-${[...random].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

/**
 * Gives one rating: `{kind: 'stars', answer, stars}`. Resolves to `{id, saved: true, seq}` once it is durable, or to
 * `{id, saved: false, why}` when it waits here to be sent again; rejects with a Problem when it will never be taken.
 */
export async function give(fields) {
  const event = { id: newId(), annotator: name(), at: Date.now(), ...fields };
  const waiting = read();
  if (waiting.length >= MOST) throw new Problem(0, `${MOST} ratings wait to be sent already; start the daemon first`);
  write([...waiting, event]);
  const outcomes = await flush();
  const outcome = outcomes.get(event.id);
  if (outcome?.refused) throw outcome.refused;
  if (outcome?.ack) return { id: event.id, saved: true, seq: outcome.ack.seq };
  return { id: event.id, saved: false, why: outcomes.get('why') ?? 'another rating is on its way first' };
}

/** Sends what waits, oldest first; stops at the first that cannot go now. */
export async function flush(quiet = false) {
  while (sending) await sending;
  sending = drain(quiet);
  try { return await sending; } finally { sending = null; }
}

async function drain(quiet) {
  const outcomes = new Map();
  for (;;) {
    const event = read()[0];
    if (!event) return outcomes;
    try {
      outcomes.set(event.id, { ack: await post('/v1/feedback', event, { quiet }) });
      later.get(event.id)?.();
      later.delete(event.id);
    } catch (problem) {
      // Without the right token it may go later, with one.
      if (problem.again || problem.status === 401 || problem.status === 403) {
        outcomes.set('why', problem.message);
        return outcomes;
      }
      outcomes.set(event.id, { refused: problem });
    }
    write(read().filter((other) => other.id !== event.id));
  }
}

/** Calls `run` when a rating that waits here is durable. */
export const whenSaved = (id, run) => later.set(id, run);

/** Takes a rating of this session back. */
export const retract = (id) => give({ kind: 'retract', feedback: id });

addEventListener('online', () => flush(true));
setInterval(() => { if (read().length && !sending) flush(true); }, 4000);
