// The public API: fetch for acts and pages, one live socket for what is shown.
import { batch, signal } from '@preact/signals';
import type { FleetGrid, Me, Shell } from './types';

export class Problem extends Error {
  constructor(public status: number, public body: Record<string, string>) {
    super(body.detail ?? `HTTP ${status}`);
  }
  /** Return the problem in one line, with field, value and limit. */
  says(): string {
    const { detail, field, value, limit, holder } = this.body;
    return [detail, field && !(detail ?? '').startsWith(`${field}:`) && `${field}${value ? ` = ${value}` : ''}`, limit && `limit ${limit}`, holder && `held by ${holder}`]
      .filter(Boolean).join('; ');
  }
}

export async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const answer = await fetch(`/api/v1${path}`, {
    method,
    headers: body === undefined ? {} : { 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  const value = text ? JSON.parse(text) : {};
  if (!answer.ok) {
    if (answer.status === 401 && !path.startsWith('/sign-in') && path !== '/me') me.value = null;
    throw new Problem(answer.status, value);
  }
  return value as T;
}
/** Ask for a view: of now, or of the past instant that is shown. */
export const get = <T>(path: string): Promise<T> => call<T>('GET', past.value === null || !/^\/(?!me|past|sign-in|waiting)/.test(path) ? path : `${path}${path.includes('?') ? '&' : '?'}as_of=${past.value}`);
export const post = <T>(path: string, body?: unknown): Promise<T> => call<T>('POST', path, body);

export const me = signal<Me | null | undefined>(undefined);
export const shell = signal<Shell | null>(null);
export const connected = signal(false);
export const heardAt = signal(0);
export const views = signal<Record<string, unknown>>({});
export const fleet = signal<FleetGrid | null>(null);
export const toast = signal('');

/** The past instant that every screen shows (ns, as text: it has more digits than a number holds); null: now. */
export const past = signal<string | null>(null);
const ACTS = new Set(['acknowledge', 'compose_event', 'decide_event', 'cancel_event', 'limit', 'opt', 'kill', 'set_mode', 'consent', 'confirm', 'manage_accounts', 'make_token']);

/** Whether who is signed in may do this; in the past nobody does anything. */
export const may = (action: string): boolean => !!me.value?.may.includes(action) && (past.value === null || !ACTS.has(action));

let socket: WebSocket | null = null;
let topics: string[] = [];
let retry = 0;

/** Show these topics from now on; `shell` and `alarms` always are among them. */
export function show(...wanted: string[]): void {
  topics = ['shell', 'alarms', ...wanted];
  if (past.value !== null) { void loadPast(); return; }
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ topics }));
}

/** Show a past instant on every screen from now on; null: go on with now. */
export function showPast(at: string | null): void {
  past.value = at;
  if (at !== null) void loadPast();
  else if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ topics }));
}

async function loadPast(): Promise<void> {
  const at = past.value;
  await Promise.all(topics.filter((topic) => topic !== 'waiting').map(async (topic) => {
    const [word, name] = [topic.split(':')[0], topic.slice(topic.indexOf(':') + 1)];
    const path = topic.includes(':') ? `/${word}s/${encodeURIComponent(name)}` : `/${word}`;
    const view = await get<unknown>(path).catch((e) => ({ problem: e instanceof Problem ? e.says() : String(e) }));
    if (past.value !== at) return;
    batch(() => {
      if (topic === 'shell' && !('problem' in (view as object))) shell.value = view as Shell;
      if (topic === 'fleet') fleet.value = unpackJson(view as FleetJson);
      else views.value = { ...views.value, [topic]: view };
    });
  }));
}

export function connect(): void {
  if (socket) return;
  const made = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/api/v1/live`);
  made.binaryType = 'arraybuffer';
  socket = made;
  made.onopen = () => {
    connected.value = true;
    retry = 0;
    made.send(JSON.stringify({ topics: topics.length ? topics : ['shell', 'alarms'] }));
  };
  made.onmessage = (event) => {
    heardAt.value = performance.now();
    if (past.value !== null) return; // now goes on; it is shown again when the past is left
    if (typeof event.data !== 'string') {
      fleet.value = unpack(event.data as ArrayBuffer);
      return;
    }
    const { topic, view, problem } = JSON.parse(event.data);
    batch(() => {
      if (topic === 'shell' && view) shell.value = view;
      views.value = { ...views.value, [topic]: problem ? { problem } : view };
    });
  };
  made.onclose = (event) => {
    socket = null;
    connected.value = false;
    if (event.code === 4401) {
      me.value = null;
      return;
    }
    retry = Math.min(retry + 1, 6);
    if (me.value) setTimeout(connect, 250 * 2 ** retry);
  };
}

export function disconnect(): void {
  socket?.close();
}

function unpack(buffer: ArrayBuffer): FleetGrid {
  const size = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  const cells = (buffer.byteLength - 4 - size) / 2;
  return {
    ...head,
    state: new Uint8Array(buffer, 4 + size, cells),
    loading: new Uint8Array(buffer, 4 + size + cells, cells),
  };
}

type FleetJson = Omit<FleetGrid, 'state' | 'loading'> & { state: string; loading: string };
const bytes = (text: string): Uint8Array => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
function unpackJson(view: FleetJson): FleetGrid | null {
  return view.state === undefined ? null : { ...view, state: bytes(view.state), loading: bytes(view.loading) };
}
