// The way to the daemon. Invariant: a refusal becomes a Problem with one sentence, whatever form it came in.

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
  try { value ? localStorage.setItem(TOKEN, value) : localStorage.removeItem(TOKEN); } catch { /* it lasts for no visit */ }
}

/** The response, or a Problem. */
export async function request(method, path, body, more = {}) {
  const headers = { ...more.headers };
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (token()) headers.authorization = `Bearer ${token()}`;
  let response;
  try {
    response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal: more.signal });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem(0, 'the daemon cannot be reached; is it running?');
  }
  if (response.ok) return response;
  throw await problem(response);
}

async function problem(response) {
  let said = {};
  try { said = await response.json(); } catch { /* no JSON: the status must do */ }
  const openai = said.error;
  const detail = said.detail ?? openai?.message ?? said.title ?? `the daemon answered ${response.status}`;
  if (response.status === 401) document.dispatchEvent(new CustomEvent('understudy:token', { detail }));
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
