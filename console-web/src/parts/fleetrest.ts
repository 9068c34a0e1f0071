// What has no room for a cell a device: all other groups as points, from their counts alone, so that a million cost
// as little as a thousand. A point stands for `of` devices; an abnormal device always has its point.
import type { FleetGroup } from '../types';

const POINT = 2;
export interface Rest { groups: FleetGroup[]; starts: Uint32Array; of: number; cols: number; y: number; height: number; says: string }

const LABEL = 15;

/** Return how many points a group takes: normal ones rounded, each abnormal state rounded up. */
function points(group: FleetGroup, of: number): number {
  let sum = 0;
  for (let state = 0; state < group.states.length; state++) sum += state === 0 ? Math.round(group.states[0] / of) : Math.ceil(group.states[state] / of);
  return Math.max(sum, 1);
}

/** Return how these groups, worst first, fill the width below `y` within `room` px. */
export function pointed(groups: FleetGroup[], width: number, y: number, room: number): Rest {
  const cols = Math.max(Math.floor(width / POINT), 1);
  const most = Math.max(cols * Math.floor((room - LABEL) / POINT), 1);
  let devices = 0, abnormal = 0;
  for (const group of groups) { devices += group.count; abnormal += group.abnormal; }
  const count = (of: number): number => groups.reduce((sum, group) => sum + points(group, of), 0);
  let of = Math.max(Math.ceil(devices / most), 1);
  while (count(of) > most && of < devices) of = Math.ceil(of * 1.15) + 1;
  const starts = new Uint32Array(groups.length + 1);
  groups.forEach((group, n) => (starts[n + 1] = starts[n] + points(group, of)));
  const rows = Math.min(Math.ceil(starts[groups.length] / cols), Math.floor((room - LABEL) / POINT) + 1);
  const each = of === 1 ? 'a point a device' : `a point for ${of} devices, abnormal rounded up`;
  return { groups, starts, of, cols, y, height: LABEL + rows * POINT, says: `${groups.length.toLocaleString('en-US')} more feeders, worst first: ${abnormal.toLocaleString('en-US')} of ${devices.toLocaleString('en-US')} abnormal; ${each}` };
}

/** Paint the points; neighbouring groups differ in shade so that each is seen. */
export function paintRest(pixels: Uint32Array, w: number, rest: Rest, colours: Uint32Array, order: number[], ratio: number): void {
  const top = Math.round((rest.y + LABEL) * ratio), side = Math.max(Math.round(POINT * ratio), 1);
  const last = Math.floor(pixels.length / w);
  rest.groups.forEach((group, n) => {
    let at = rest.starts[n];
    const end = rest.starts[n + 1];
    for (const state of order) {
      const devices = group.states[state] ?? 0;
      let left = state === 0 ? end - at : Math.min(Math.ceil(devices / rest.of), end - at);
      const colour = colours[state * 256 + (state === 0 ? (n % 2 ? 70 : 20) : 0)];
      while (left > 0) {
        const col = at % rest.cols, run = Math.min(left, rest.cols - col);
        const x = Math.round(col * POINT * ratio), y = top + Math.floor(at / rest.cols) * side;
        for (let dy = 0; dy < side && y + dy < last; dy++) pixels.fill(colour, (y + dy) * w + x, (y + dy) * w + x + run * side);
        at += run;
        left -= run;
      }
    }
  });
}

/** Return the group whose point stands at a place of the canvas (px), or null. */
export function groupAt(rest: Rest | null, x: number, y: number): FleetGroup | null {
  if (!rest || x < 0 || y < rest.y + LABEL) return null;
  const col = Math.floor(x / POINT);
  if (col >= rest.cols) return null;
  const at = Math.floor((y - rest.y - LABEL) / POINT) * rest.cols + col;
  if (at >= rest.starts[rest.groups.length]) return null;
  let low = 0, high = rest.groups.length - 1;
  while (low < high) {
    const mid = (low + high + 1) >> 1;
    if (rest.starts[mid] <= at) low = mid; else high = mid - 1;
  }
  return rest.groups[low];
}
