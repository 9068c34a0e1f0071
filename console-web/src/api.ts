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
    return [detail, field && `${field}${value ? ` = ${value}` : ''}`, limit && `limit ${limit}`, holder && `held by ${holder}`]
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
export const get = <T>(path: string): Promise<T> => call<T>('GET', path);
export const post = <T>(path: string, body?: unknown): Promise<T> => call<T>('POST', path, body);

export const me = signal<Me | null | undefined>(undefined);
export const shell = signal<Shell | null>(null);
export const connected = signal(false);
export const heardAt = signal(0);
export const views = signal<Record<string, unknown>>({});
export const fleet = signal<FleetGrid | null>(null);
export const toast = signal('');

export const may = (action: string): boolean => !!me.value?.may.includes(action);

let socket: WebSocket | null = null;
let topics: string[] = [];
let retry = 0;

/** Show these topics from now on; `shell` and `alarms` always are among them. */
export function show(...wanted: string[]): void {
  topics = ['shell', 'alarms', ...wanted];
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ topics }));
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
