import { useEffect, useRef, useState } from 'preact/hooks';
import type uPlotType from 'uplot';
import { shell } from '../api';
import type { Num } from '../types';

export interface Line { label: string; values: Num[]; colour: string; dash?: number[]; width?: number; fill?: string; steps?: boolean; scale?: string }

const css = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Power and price are read against zero: an axis that begins elsewhere would make a small error look large.
const fromZero = (_: uPlotType, low: number | null, high: number | null): [number, number] => {
  const least = Math.min(low ?? 0, 0), most = Math.max(high ?? 1, least + 1);
  return [least < 0 ? least * 1.05 : 0, most > 0 ? most * 1.08 : 0];
};

/** A chart over time. Past and future share the axis: a line marks now. `table` offers the same as numbers. */
export function Chart({ at, lines, height, unit, unit2, now, label }: { at: number[]; lines: Line[]; height: number; unit: string; unit2?: string; now?: number; label: string }) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlotType | null>(null);
  const [palette, setPalette] = useState(0);
  const [table, setTable] = useState(false);
  const nowAt = useRef(now);
  nowAt.current = now;
  useEffect(() => {
    const again = () => setPalette((n) => n + 1);
    addEventListener('theme', again);
    return () => removeEventListener('theme', again);
  }, []);
  const shape = `${lines.map((line) => line.label).join()}|${palette}|${table}|${unit}`;
  useEffect(() => {
    if (table) return;
    let over = false;
    void import('./plot').then(({ uPlot }) => {
      if (over || !box.current) return;
      const zone = shell.value?.zone ?? 'UTC';
      const ink = css('--quiet'), grid = css('--rule');
      const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: `11px ${css('--font')}` };
      plot.current = new uPlot({
        width: box.current.clientWidth, height, tzDate: (s: number) => uPlot.tzDate(new Date(s * 1e3), zone),
        fmtDate: (template: string) => uPlot.fmtDate(template), cursor: { drag: { x: false, y: false }, points: { size: 5 } }, legend: { show: false }, padding: [8, unit2 ? 0 : 26, 0, 0],
        scales: { x: { time: true }, y: { range: fromZero }, ...(unit2 ? { second: { range: fromZero } } : {}) },
        axes: [
          { ...axis, space: 74, size: 28, values: (_: uPlotType, ticks: number[]) => { const f = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', timeZone: zone }); return ticks.map((t) => f.format(t * 1e3)); } },
          { ...axis, size: 58, space: 34, values: (_: uPlotType, ticks: number[]) => ticks.map((v) => v.toLocaleString('en-US').replace('-', '\u2212')) },
          ...(unit2 ? [{ ...axis, scale: 'second', side: 1 as const, size: 52, space: 34, grid: { show: false } }] : []),
        ],
        series: [{}, ...lines.map((line) => ({
          label: line.label, stroke: css(line.colour), width: line.width ?? 1.5, dash: line.dash, spanGaps: false, points: { show: false },
          scale: line.scale ?? 'y', fill: line.fill ? css(line.fill) : undefined, paths: line.steps ? uPlot.paths.stepped!({ align: 1 }) : undefined,
        }))],
        hooks: { drawClear: [(u: uPlotType) => {
          if (nowAt.current === undefined) return;
          // What is to come stands on a ground of its own, on every chart alike.
          const x = Math.min(Math.max(u.valToPos(nowAt.current, 'x', true), u.bbox.left), u.bbox.left + u.bbox.width);
          u.ctx.save();
          u.ctx.fillStyle = css('--future');
          u.ctx.fillRect(x, u.bbox.top, u.bbox.left + u.bbox.width - x, u.bbox.height);
          u.ctx.restore();
        }], draw: [(u: uPlotType) => {
          if (nowAt.current === undefined) return;
          const x = Math.round(u.valToPos(nowAt.current, 'x', true));
          if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) return;
          u.ctx.save();
          u.ctx.font = `${11 * devicePixelRatio}px ${css('--font')}`;
          u.ctx.fillStyle = css('--ink');
          u.ctx.textAlign = x > u.bbox.left + u.bbox.width - 40 * devicePixelRatio ? 'right' : 'left';
          u.ctx.fillText('now', x + (u.ctx.textAlign === 'left' ? 4 : -4) * devicePixelRatio, u.bbox.top + 11 * devicePixelRatio);
          u.ctx.setLineDash([]);
          u.ctx.strokeStyle = css('--ink');
          u.ctx.globalAlpha = 0.55;
          u.ctx.beginPath(); u.ctx.moveTo(x, u.bbox.top); u.ctx.lineTo(x, u.bbox.top + u.bbox.height); u.ctx.stroke();
          u.ctx.restore();
        }] },
      }, [at, ...lines.map((line) => line.values)] as uPlotType.AlignedData, box.current);
    });
    const watch = new ResizeObserver(() => plot.current && box.current && plot.current.setSize({ width: box.current.clientWidth, height }));
    if (box.current) watch.observe(box.current);
    return () => { over = true; watch.disconnect(); plot.current?.destroy(); plot.current = null; };
  }, [shape, height]);
  useEffect(() => { plot.current?.setData([at, ...lines.map((line) => line.values)] as uPlotType.AlignedData); }, [at, lines]);
  return (
    <figure class="chart" aria-label={label}>
      <figcaption>
        {lines.map((line) => <span class="key" key={line.label}><i class="stroke" style={{ borderTopColor: `var(${line.colour})`, borderTopStyle: line.dash ? 'dashed' : 'solid' }} /> {line.label} <small>{line.scale ? unit2 : unit}</small></span>)}
        <span class="grow" />
        <button class="plain" aria-pressed={table} onClick={() => setTable(!table)}>{table ? 'As a picture' : 'As a table'}</button>
      </figcaption>
      {table ? <Numbers at={at} lines={lines} height={height} label={label} /> : <div ref={box} class="plot" style={{ height: `${height}px` }} role="img" aria-label={`${label}; a table says the same`} />}
    </figure>
  );
}

function Numbers({ at, lines, height, label }: { at: number[]; lines: Line[]; height: number; label: string }) {
  const zone = shell.value?.zone ?? 'UTC';
  const f = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', timeZone: zone });
  const rows = at.map((_, k) => at.length - 1 - k).slice(0, 300);
  return (
    <div class="scroll" style={{ height: `${height}px` }} tabIndex={0} role="region" aria-label={label}>
      <table>
        <thead><tr><th>Time</th>{lines.map((line) => <th class="n" key={line.label}>{line.label}</th>)}</tr></thead>
        <tbody>{rows.map((k) => <tr key={k}><td>{f.format(at[k] * 1e3)}</td>{lines.map((line) => <td class="n" key={line.label}>{line.values[k] === null || line.values[k] === undefined ? '–' : line.values[k]!.toFixed(1)}</td>)}</tr>)}</tbody>
      </table>
    </div>
  );
}
