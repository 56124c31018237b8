// The way to the daemon. Invariant: a refusal becomes a Problem with one sentence, whatever form it came in; where a token
// is missing or wrong, a person is asked for it once and the request goes on with what they give.

const TOKEN = 'understudy.token';

/** Why something was not done. `again`: the same request may go through later. */
export class Problem extends Error {
  constructor(status, detail, more = {}) {
    super(detail);
    this.status = status;
    this.code = more.code;
    this.field = more.field;
    this.retryAfter = more.retry_after;
    this.again = status === 0 || status === 408 || status === 429 || status >= 500;
  }
}

export const token = () => { try { return localStorage.getItem(TOKEN) ?? ''; } catch { return ''; } };
export function setToken(value) {
  declined = false;
  try { value ? localStorage.setItem(TOKEN, value) : localStorage.removeItem(TOKEN); } catch { /* it lasts for no visit */ }
}

let ask = null;
let asking = null;
let declined = false;
/** `run(why)` asks a person for the token and resolves to whether they gave one. */
export const ontoken = (run) => { ask = run; };

/** Whether to try again: with the token that has come meanwhile, or the one that somebody gives now. */
async function admitted(method, tried, why) {
  if (token() !== tried) return true;
  // Who has said no is asked again when they do something, not when the page looks for news.
  if (!ask || (declined && method === 'GET')) return false;
  asking ??= ask(why).finally(() => { asking = null; });
  declined = !(await asking);
  return !declined;
}

/** The response, or a Problem. `more.quiet` asks nobody for a token. */
export async function request(method, path, body, more = {}) {
  for (;;) {
    const tried = token();
    const response = await sent(method, path, body, more, tried);
    if (response.ok) return response;
    const found = await problem(response);
    if (found.status !== 401 || more.quiet || !(await admitted(method, tried, found.message))) throw found;
  }
}

async function sent(method, path, body, more, secret) {
  const headers = { ...more.headers };
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (secret) headers.authorization = `Bearer ${secret}`;
  try {
    return await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal: more.signal });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem(0, 'the daemon cannot be reached; is it running?');
  }
}

async function problem(response) {
  let said = {};
  try { said = await response.json(); } catch { /* no JSON: the status must do */ }
  const openai = said.error;
  const detail = said.detail ?? openai?.message ?? said.title ?? `the daemon answered ${response.status}`;
  return new Problem(response.status, detail, {
    code: said.code ?? openai?.code,
    field: said.field ?? openai?.param,
    retry_after: Number(response.headers.get('retry-after')) || said.retry_after,
  });
}

/** The JSON under a path; `null` for 204. */
export async function get(path, more) {
  const response = await request('GET', path, undefined, more);
  return response.status === 204 ? null : response.json();
}

export async function post(path, body, more) {
  const response = await request('POST', path, body, more);
  return response.status === 204 ? null : response.json().catch(() => null);
}

/** Server-sent events of a response: `{id, event, data}` one by one. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest = (rest + value).replaceAll('\r\n', '\n');
      let end;
      while ((end = rest.indexOf('\n\n')) >= 0) {
        const event = parsed(rest.slice(0, end));
        rest = rest.slice(end + 2);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parsed(block) {
  const event = { id: undefined, event: 'message', data: '' };
  for (const line of block.split('\n')) {
    if (line.startsWith(':')) continue;
    const at = line.indexOf(':');
    const [field, value] = at < 0 ? [line, ''] : [line.slice(0, at), line.slice(at + 1).replace(/^ /, '')];
    if (field === 'data') event.data += event.data ? `\n${value}` : value;
    else if (field === 'id' || field === 'event') event[field] = value;
  }
  return event.data || event.id ? event : null;
}

/** Follows `path` until `signal`; goes on after the last event that was seen. `onstate` hears `open` and `lost`. */
export async function follow(path, { signal, onevent, onstate }) {
  let last;
  let pause = 500;
  while (!signal.aborted) {
    try {
      const headers = last === undefined ? {} : { 'last-event-id': last };
      const response = await request('GET', path, undefined, { signal, headers });
      onstate('open');
      pause = 500;
      for await (const event of events(response)) {
        if (event.id !== undefined) last = event.id;
        if (event.data) onevent(event);
      }
    } catch (error) {
      if (signal.aborted || error.name === 'AbortError') return;
    }
    onstate('lost');
    await new Promise((done) => { setTimeout(done, pause); signal.addEventListener('abort', done, { once: true }); });
    pause = Math.min(pause * 2, 10000);
  }
}
