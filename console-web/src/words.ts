// Numbers and instants as people read them: units always, unknown never 0, digits of one width.
import { me, shell } from './api';
import type { Num } from './types';

export const UNKNOWN = 'unknown';
const MINUS = '\u2212';

function fixed(value: number, digits: number): string {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace('-', '') : text.replace('-', MINUS);
}
/** Return a power with its unit; the unit follows the size. */
export function power(watts: Num | undefined): string {
  if (watts === null || watts === undefined) return UNKNOWN;
  const size = Math.abs(watts);
  if (size >= 1e6) return `${fixed(watts / 1e6, 2)} MW`;
  if (size >= 1e5) return `${fixed(watts / 1e3, 0)} kW`;
  return size >= 1e3 ? `${fixed(watts / 1e3, 1)} kW` : `${fixed(watts, 0)} W`;
}
/** Return apparent or reactive power, with prefixes as `power` has them: what belongs together reads alike. */
export function volume(value: number, unit: string): string {
  return power(value).replace(/W$/, unit);
}
export function energy(wh: Num): string {
  if (wh === null) return UNKNOWN;
  return Math.abs(wh) >= 1e6 ? `${fixed(wh / 1e6, 2)} MWh` : `${fixed(wh / 1e3, 1)} kWh`;
}
export function bound(watts: Num): string {
  return watts === null ? 'open' : power(watts);
}
export function money(value: Num | string): string {
  return value === null ? UNKNOWN : Number(value).toLocaleString('en-US', { minimumFractionDigits: 2, maximumFractionDigits: 2 }).replace('-', MINUS);
}
export function age(seconds: Num): string {
  if (seconds === null) return UNKNOWN;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}
const made = new Map<string, Intl.DateTimeFormat>();
function format(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const zone = shell.value?.zone || me.value?.zone || 'UTC';
  const key = zone + JSON.stringify(options);
  let found = made.get(key);
  if (!found) made.set(key, (found = new Intl.DateTimeFormat('en-GB', { timeZone: zone, ...options })));
  return found;
}
export const ms = (ns: number): number => ns / 1e6;
export function clock(ns: Num, seconds = true): string {
  if (ns === null) return UNKNOWN;
  return format({ hour: '2-digit', minute: '2-digit', ...(seconds ? { second: '2-digit' } : {}) }).format(ms(ns));
}
export function day(ns: number): string {
  return format({ weekday: 'short', day: '2-digit', month: 'short' }).format(ms(ns));
}
export function zoneName(): string {
  const now = shell.value ? ms(shell.value.now_ns) : Date.now();
  // The American names are the ones that control rooms use (CDT, not GMT-5).
  const named = new Intl.DateTimeFormat('en-US', { timeZone: shell.value?.zone || me.value?.zone || 'UTC', timeZoneName: 'short' });
  return named.formatToParts(now).find((p) => p.type === 'timeZoneName')?.value ?? '';
}
export function spaced(word: string): string {
  return word.replace(/_/g, ' ');
}
export const STATES = [
  { word: 'normal', mark: '' }, { word: 'limited', mark: 'L' }, { word: 'not responding', mark: '2' },
  { word: 'failed', mark: '1' }, { word: 'no telemetry', mark: 'S' }, { word: 'opted out', mark: 'O' },
  { word: 'never heard', mark: '?' },
];
