import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { fleet, get } from '../api';
import { go } from '../route';
import type { FleetGrid, FleetGroup, Member } from '../types';
import { groupAt, paintRest, pointed, type Rest } from './fleetrest';
import { STATES } from '../words';

// Gravest first: failed, not responding, no telemetry, never heard, opted out, limited, normal.
const ORDER = [3, 2, 4, 6, 5, 1, 0];
const GRAVITY = new Uint8Array(8);
ORDER.forEach((state, at) => (GRAVITY[state] = at));

interface Block { id: string; first: number; count: number; abnormal: number; states: number[]; x: number; y: number; cols: number; width: number }
interface Plan { blocks: Block[]; order: Uint32Array; cell: number; gap: number; width: number; height: number; rest: Rest | null }

/** Return for each of these groups its cells sorted by gravity, then by loading (darkest last): abnormal first. */
function sorted(grid: FleetGrid, groups: FleetGroup[], kept: Uint32Array | null): Uint32Array {
  const total = grid.state.length;
  const order = kept && kept.length === total ? kept : new Uint32Array(total);
  const starts = new Uint32Array(7 * 16 + 1);
  for (const group of groups) {
    starts.fill(0);
    const end = group.first + group.count;
    for (let k = group.first; k < end; k++) starts[GRAVITY[grid.state[k]] * 16 + (grid.loading[k] >> 4) + 1]++;
    for (let b = 1; b < starts.length; b++) starts[b] += starts[b - 1];
    for (let k = group.first; k < end; k++) order[group.first + starts[GRAVITY[grid.state[k]] * 16 + (grid.loading[k] >> 4)]++] = k;
  }
  return order;
}

const LABEL = 15, LEAST_CELL = 2, MOST_BLOCKS = 400, REST_SHARE = 0.45;

/** Return the largest cell (px) with which blocks of these groups fit, and how many stand side by side; 0: none does. */
function fit(groups: FleetGroup[], width: number, height: number): { cell: number; across: number } {
  const most = groups.reduce((m, g) => Math.max(m, g.count), 1);
  let best = { cell: 0, across: 1 };
  for (let across = 1; across <= groups.length; across++) {
    const room = Math.floor((width + 14) / across) - 14;
    if (room < (groups.length > 1 ? 84 : 1)) break;
    const tall = Math.floor(height / Math.ceil(groups.length / across)) - LABEL - 8;
    if (tall < 2) continue;
    let cell = Math.min(13, Math.floor(Math.sqrt((room * tall) / most)));
    while (cell > 1 && Math.ceil(most / Math.floor(room / cell)) * cell > tall) cell--;
    if (cell > 1 || Math.ceil(most / room) <= tall) if (cell > best.cell) best = { cell, across };
  }
  return best;
}

/** Return where each cell stands: worst groups first in blocks of their own; what has no room is told in points below. */
function planned(grid: FleetGrid, width: number, height: number, kept: Uint32Array | null): Plan {
  const groups = [...grid.groups].sort((a, b) => b.abnormal / Math.max(b.count, 1) - a.abnormal / Math.max(a.count, 1) || a.first - b.first);
  let own = groups.length > MOST_BLOCKS ? 0 : groups.length;
  let best = own ? fit(groups, width, height) : { cell: 0, across: 1 };
  if (best.cell < LEAST_CELL) {
    const room = Math.floor(height * (1 - REST_SHARE));
    for (own = Math.min(groups.length - 1, 24); own > 0; own--) {
      best = fit(groups.slice(0, own), width, room);
      if (best.cell >= (own > 4 ? LEAST_CELL : 1)) break;
    }
  }
  const { cell, across } = own ? best : { cell: 1, across: 1 };
  const shown = groups.slice(0, own);
  const side = Math.floor((width + 14) / across) - 14;
  const cols = Math.max(Math.floor(side / cell), 1);
  const rows = Math.ceil(shown.reduce((m, g) => Math.max(m, g.count), 1) / cols);
  const blocks = shown.map((g, n) => ({ ...g, cols, width: side, x: (n % across) * (side + 14), y: Math.floor(n / across) * (rows * cell + LABEL + 8) }));
  const used = Math.ceil(own / across) * (rows * cell + LABEL + 8);
  const rest = own < groups.length ? pointed(groups.slice(own), width, used, Math.max(height - used, 60)) : null;
  return { blocks, order: sorted(grid, shown, kept), cell, gap: cell >= 4 ? 1 : 0, width, height: rest ? rest.y + rest.height : used, rest };
}

function palette(): Uint32Array {
  // ABGR for 8 states x 256 loadings; colour only for what is abnormal, loading by lightness for the rest.
  const css = getComputedStyle(document.documentElement);
  const parse = (name: string): number[] => {
    const hex = css.getPropertyValue(name).trim().slice(1);
    return [0, 2, 4].map((k) => parseInt(hex.slice(k, k + 2), 16));
  };
  const light = parse('--cell-light'), dark = parse('--cell-dark');
  const fixed: Record<number, number[]> = { 2: parse('--p2'), 3: parse('--p1'), 4: parse('--stale'), 5: parse('--entered'), 6: parse('--unknown') };
  const warm = parse('--cell-limited');
  const table = new Uint32Array(8 * 256);
  for (let state = 0; state < 8; state++) {
    for (let load = 0; load < 256; load++) {
      const part = load / 255;
      const [r, g, b] = fixed[state] ?? (state === 1 ? warm.map((v, k) => v + (dark[k] - v) * part * 0.5) : light.map((v, k) => v + (dark[k] - v) * part));
      table[state * 256 + load] = (255 << 24) | (b << 16) | (g << 8) | r;
    }
  }
  return table;
}

function paint(canvas: HTMLCanvasElement, grid: FleetGrid, plan: Plan, colours: Uint32Array, buffer: { image: ImageData | null }): void {
  const ratio = devicePixelRatio || 1;
  const w = Math.round(plan.width * ratio), h = Math.round(Math.max(plan.height, 1) * ratio);
  if (w < 1) return; // not laid out yet
  if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; buffer.image = null; }
  const context = canvas.getContext('2d')!;
  buffer.image ??= context.createImageData(w, h);
  const pixels = new Uint32Array(buffer.image.data.buffer);
  pixels.fill(0);
  const size = plan.cell * ratio;
  const side = Math.max(Math.round((plan.cell - plan.gap) * ratio), 1);
  for (const block of plan.blocks) {
    const top = (block.y + LABEL) * ratio, left = block.x * ratio;
    // By hand: a call of fill for two pixels costs more than the pixels.
    for (let n = 0, row = 0; n < block.count; row++) {
      const line = Math.round(top + row * size) * w, until = Math.min(n + block.cols, block.count);
      for (let col = 0; n < until; n++, col++) {
        const k = plan.order[block.first + n];
        const colour = colours[(grid.state[k] << 8) | grid.loading[k]];
        const from = line + Math.round(left + col * size);
        for (let at = from, down = 0; down < side; down++, at += w) for (let right = 0; right < side; right++) pixels[at + right] = colour;
      }
    }
  }
  if (plan.rest) paintRest(pixels, w, plan.rest, colours, ORDER, ratio);
  context.putImageData(buffer.image, 0, 0);
  const css = getComputedStyle(document.documentElement);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.textBaseline = 'alphabetic';
  context.font = `600 11px ${css.getPropertyValue('--font')}`;
  const wide = plan.blocks.every((block) => context.measureText(`${block.id}   ${block.abnormal} of ${block.count}`).width <= block.width);
  for (const block of plan.blocks) {
    const sick = block.abnormal / Math.max(block.count, 1) > 0.1 && block.abnormal > 2;
    context.fillStyle = css.getPropertyValue(sick ? '--ink' : '--quiet').trim();
    context.font = `${sick ? '600 ' : ''}11px ${css.getPropertyValue('--font')}`;
    const share = `${block.abnormal} of ${block.count}`;
    const short = block.id.replace('feeder-', 'F');
    context.fillText(wide ? block.id : short, block.x, block.y + 11);
    if (block.abnormal) {
      const room = context.measureText(`${wide ? block.id : short}  ${share}`).width <= block.width;
      const text = room ? share : String(block.abnormal);
      context.fillText(text, block.x + block.width - context.measureText(text).width - 2, block.y + 11);
    }
  }
  if (plan.rest) {
    context.fillStyle = css.getPropertyValue('--quiet').trim();
    context.font = `11px ${css.getPropertyValue('--font')}`;
    context.fillText(plan.rest.says, 0, plan.rest.y + 11, plan.width);
  }
  context.setTransform(1, 0, 0, 1, 0, 0);
}

/** One cell a device, feeder by feeder, abnormal first; click, or move with the arrows and press Enter. */
export function Fleet({ height = 380 }: { height?: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const box = useRef<HTMLDivElement>(null);
  const plan = useRef<Plan | null>(null);
  const buffer = useRef({ image: null as ImageData | null });
  const colours = useRef<Uint32Array | null>(null);
  const tip = useSignal<{ x: number; y: number; text: string } | null>(null);
  const table = useSignal(false);
  const cursor = useSignal<{ block: number; n: number } | null>(null);
  const redraw = () => {
    const grid = fleet.value;
    if (!grid || !canvas.current || !box.current) return;
    const began = performance.now();
    plan.current = planned(grid, box.current.clientWidth, height, plan.current?.order ?? null);
    colours.current ??= palette();
    canvas.current.style.width = `${plan.current.width}px`;
    canvas.current.style.height = `${plan.current.height}px`;
    paint(canvas.current, grid, plan.current, colours.current, buffer.current);
    (window as unknown as Record<string, number>).fleetPaintMs = performance.now() - began;
  };
  const grid = fleet.value;
  useEffect(redraw, [grid, height, table.value]);
  useEffect(() => {
    const again = () => { colours.current = null; buffer.current.image = null; redraw(); };
    const watch = new ResizeObserver(again);
    if (box.current) watch.observe(box.current);
    addEventListener('theme', again);
    return () => { watch.disconnect(); removeEventListener('theme', again); };
  }, []);
  const hit = (event: MouseEvent): { block: Block; at: number } | null => {
    const p = plan.current;
    if (!p) return null;
    for (const block of p.blocks) {
      const col = Math.floor((event.offsetX - block.x) / p.cell), row = Math.floor((event.offsetY - block.y - LABEL) / p.cell);
      const n = row * block.cols + col;
      if (col >= 0 && col < block.cols && row >= 0 && n < block.count) return { block, at: p.order[block.first + n] - block.first };
    }
    return null;
  };
  const open = async (group: string, at: number) => {
    const [member] = await get<Member[]>(`/groups/${group}/members?at=${at}&count=1&order=grid`);
    if (member) go(`/resource/${member.resource}`);
  };
  const say = (block: Block, at: number): string => {
    const k = block.first + at;
    return `${block.id} · device ${at + 1} of ${block.count} · ${STATES[grid!.state[k]].word} · ${Math.round((grid!.loading[k] / 255) * 100)} % of rating`;
  };
  const press = (event: KeyboardEvent) => {
    const p = plan.current;
    if (!p || !p.blocks.length) return;
    const step: Record<string, number> = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: p.blocks[0].cols, ArrowUp: -p.blocks[0].cols };
    if (event.key === 'Enter' && cursor.value) {
      const block = p.blocks[cursor.value.block];
      void open(block.id, p.order[block.first + cursor.value.n] - block.first);
      return;
    }
    if (!(event.key in step)) return;
    event.preventDefault();
    let { block, n } = cursor.value ?? { block: 0, n: -1 };
    n += step[event.key];
    while (n >= p.blocks[block].count && block < p.blocks.length - 1) { n -= p.blocks[block].count; block++; }
    while (n < 0 && block > 0) { block--; n += p.blocks[block].count; }
    n = Math.min(Math.max(n, 0), p.blocks[block].count - 1);
    cursor.value = { block, n };
    const b = p.blocks[block];
    tip.value = { x: b.x + (n % b.cols) * p.cell, y: b.y + LABEL + Math.floor(n / b.cols) * p.cell, text: say(b, p.order[b.first + n] - b.first) };
  };
  const counts = new Array(7).fill(0);
  grid?.groups.forEach((group) => group.states.forEach((n, state) => (counts[state] += n)));
  return (
    <div class="fleet">
      <div class="legend">
        <span class="key k0">normal {counts[0].toLocaleString('en-US')}</span>
        {ORDER.slice(0, 6).filter((state) => counts[state]).map((state) => (
          <span class={`key k${state}`} key={state}><i aria-hidden="true">{STATES[state].mark}</i> {STATES[state].word} <b>{counts[state].toLocaleString('en-US')}</b></span>
        ))}
        <span class="grow" />
        <button class="plain" aria-pressed={table.value} onClick={() => (table.value = !table.value)}>{table.value ? 'As a picture' : 'As a table'}</button>
      </div>
      {table.value ? <FleetTable /> : (
        <div class="cells" ref={box}>
          {!grid && <p class="empty">Waiting for the fleet …</p>}
          <canvas ref={canvas} tabIndex={0} role="application" aria-label="Fleet: a cell a device, grouped by feeder, abnormal first. Arrows move, Enter opens; a table says the same."
            onMouseMove={(e) => { const found = hit(e), far = found ? null : groupAt(plan.current?.rest ?? null, e.offsetX, e.offsetY); tip.value = found ? { x: e.offsetX, y: e.offsetY, text: say(found.block, found.at) } : far && { x: e.offsetX, y: e.offsetY, text: `${far.id} \u00b7 ${far.abnormal} of ${far.count} devices abnormal` }; }}
            onMouseLeave={() => (tip.value = null)} onKeyDown={press} onBlur={() => (tip.value = null)}
            onClick={(e) => { const found = hit(e), far = found ? null : groupAt(plan.current?.rest ?? null, e.offsetX, e.offsetY); if (found) void open(found.block.id, found.at); else if (far) go(`/feeder/${far.id}`); }} />
          {tip.value && <div class="tip" style={{ left: `${Math.min(tip.value.x + 12, (box.current?.clientWidth ?? 500) - 330)}px`, top: `${tip.value.y + 14}px` }}>{tip.value.text}</div>}
        </div>
      )}
    </div>
  );
}

const MOST_ROWS = 300;
function FleetTable() {
  const grid = fleet.value;
  if (!grid) return <p class="empty">Waiting for the fleet …</p>;
  const rows = [...grid.groups].sort((a, b) => b.abnormal - a.abnormal);
  return (
    <div class="scroll tall" tabIndex={0} role="region" aria-label="Fleet by feeder">
      <table>
        <thead><tr><th>Feeder</th><th class="n">Devices</th>{ORDER.map((state) => <th class="n" key={state}>{STATES[state].word}</th>)}</tr></thead>
        <tbody>{rows.slice(0, MOST_ROWS).map((group) => (
          <tr key={group.id}><td><a href={`/feeder/${group.id}`}>{group.id}</a></td><td class="n">{group.count}</td>{ORDER.map((state) => <td class="n" key={state}>{group.states[state] || ''}</td>)}</tr>
        ))}</tbody>
      </table>
      {rows.length > MOST_ROWS && <p class="more quiet">{(rows.length - MOST_ROWS).toLocaleString('en-US')} more feeders with less abnormal; find any with Ctrl-K.</p>}
    </div>
  );
}
