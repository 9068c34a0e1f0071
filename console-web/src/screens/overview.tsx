import { useEffect, useMemo } from 'preact/hooks';
import { shell, show, views } from '../api';
import { Chart } from '../parts/chart';
import { Bar, Figure } from '../parts/figure';
import { Fleet } from '../parts/fleetgrid';
import { Mark } from '../parts/mark';
import type { Alarm, FeederRow, Overview as View, Series } from '../types';
import { AlarmRates } from '../parts/alarmrate';
import { age, bound, clock, money, power, spaced, UNKNOWN } from '../words';

export function Overview() {
  useEffect(() => show('overview', 'series', 'fleet'), []);
  const view = views.value.overview as View | undefined;
  if (!view) return <p class="empty">Waiting for the first view …</p>;
  return (
    <div class="overview">
      <h1 class="hidden">Overview</h1>
      <Figures view={view} />
      <div class="column">
        <section class="panel delivery">
          <h2>Delivery against instruction <small>{view.pool}, above base, positive into the grid</small></h2>
          <Delivery view={view} />
          <Commitments view={view} />
        </section>
        <section class="panel feeders">
          <h2>Feeders <small>worst first</small></h2>
          <FeederTable rows={view.feeders.slice(0, 7)} />
          {view.feeder_count > 7 && <p class="more"><a href="/feeders">All {view.feeder_count} feeders</a></p>}
        </section>
      </div>
      <div class="column">
        <section class="panel fleetpanel">
          <h2>{view.devices.toLocaleString('en-US')} devices <small>one cell each, by feeder, abnormal first; shade is loading</small></h2>
          <Fleet height={Math.max(300, Math.min(520, innerHeight - 480))} />
          <p class="who-controls">In control: {Object.entries(view.controls).map(([who, n], k) => <span key={who}>{k > 0 && ' · '}{who} <b>{n.toLocaleString('en-US')}</b></span>)}</p>
        </section>
        <section class="panel alarmpanel">
          <h2>Alarms <small>{view.alarms_10min} new in 10 min; at most 1 is the aim</small></h2>
          <Alarms />
          <AlarmRates rate={view.alarm_rate} height={34} />
        </section>
        <section class="panel">
          <h2>Still available <small>{view.is_stopped ? 'nothing: dispatch is stopped by the kill switch' : 'beside what is owed; up adds to the grid, down takes from it'}</small></h2>
          <ReachTable view={view} />
        </section>
      </div>
    </div>
  );
}

function Figures({ view }: { view: View }) {
  const asked = view.instructed_w, gave = view.delivered_w;
  const most = Math.max(Math.abs(asked ?? 0), Math.abs(gave ?? 0), view.available_up_w ?? 0, 1) * 1.15;
  const share = asked && gave !== null ? gave / asked : null;
  const short = share !== null && share < 0.9;
  // Of 0 W, as behind the kill switch, there is no share: that is known, and not worth a word.
  const said = share !== null ? `${Math.round(share * 100)} %` : asked === 0 && gave !== null ? '' : UNKNOWN;
  return (
    <div class="figures">
      <Figure label="Delivered / instructed" title="Power above what the devices would do by themselves"
        value={asked === null ? <>nothing owed{gave !== null && Math.abs(gave) > 1000 ? ` (${power(gave)})` : ''}</> : <>{short && <Mark priority={2} />} {power(gave)} <small>/ {power(asked)}</small></>}
        note={asked === null ? 'no award or instruction holds now' : [said, view.owed_until_ns && `until ${clock(view.owed_until_ns, false)}`, view.price_per_mwh !== null && `${money(view.price_per_mwh)} $/MWh`].filter(Boolean).join(' · ')}>
        <Bar value={gave} target={asked} low={Math.min(0, -0.05 * most)} high={most} label={`delivered ${power(gave)}, instructed ${power(asked)}`} />
      </Figure>
      <Available view={view} />
      <Figure label="Net power of all devices" value={power(view.net_w)} note={view.net_w === null ? '' : view.net_w < 0 ? 'drawn from the grid' : 'fed into the grid'} />
      <Figure label="Reporting" value={<>{view.devices - view.reporting > 0.05 * view.devices && <Mark priority={3} />} {view.reporting.toLocaleString('en-US')} <small>/ {view.devices.toLocaleString('en-US')}</small></>} note={`${(view.devices - view.reporting).toLocaleString('en-US')} without fit telemetry`} />
      <Figure label="Not responding / failed" value={<>{view.not_responding.toLocaleString('en-US')} <small>/ {view.failed.toLocaleString('en-US')}</small></>} note={`${view.limited.toLocaleString('en-US')} pressed against a limit now`} />
      <Figure label="Feeder limits broken" value={view.violations === null ? UNKNOWN : <>{view.violations > 0 && <Mark priority={1} />} {view.violations.toLocaleString('en-US')}</>} note={view.violations === null ? 'no network model' : `${view.opt_outs.toLocaleString('en-US')} opted out by their owners`} />
    </div>
  );
}

/** What can still be given; behind the kill switch that is nothing, whatever the devices could do. */
export function Available({ view }: { view: Pick<View, 'available_up_w' | 'available_down_w' | 'is_stopped' | 'unstopped_up_w' | 'unstopped_down_w'> }) {
  return (
    <Figure label="Available up / down" title="What the pool can still add or take beside what it owes, within all limits, held for an hour"
      value={<>{view.is_stopped && <Mark priority={1} />} {power(view.available_up_w)} <small>/ {power(view.available_down_w)}</small></>}
      note={view.is_stopped ? `dispatch stopped; without the kill switch ${power(view.unstopped_up_w)} / ${power(view.unstopped_down_w)}` : 'in 5 min, for 1 h, beside what is owed'} />
  );
}

function ReachTable({ view }: { view: View }) {
  if (!view.reach.length) return <p class="quiet pad">{view.pool ? 'Unknown: no device of the pool was heard yet.' : 'No pool, so nothing to sell.'}</p>;
  const minutes = view.reach[0].minutes;
  const cell = (watts: number[], k: number, most: number) => (minutes[k] > most ? <span class="quiet" title="The product wants it sooner">as before</span> : power(watts[k]));
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Still available by product and minute to reach">
      <table>
        <thead><tr><th>Product</th><th>Held</th><th>Way</th>{minutes.map((m) => <th class="n" key={m}>in {m} min</th>)}</tr></thead>
        <tbody>{view.reach.flatMap((row) => (['up', 'down'] as const).map((way) => (
          <tr key={row.product + way} class={way === 'down' ? 'pairend' : ''}>
            <td>{way === 'up' ? row.says : ''}</td><td>{way === 'up' ? age(row.hold_s) : ''}</td><td>{way}</td>
            {minutes.map((m, k) => <td class="n" key={m}>{cell(way === 'up' ? row.up_w : row.down_w, k, row.reach_s / 60)}</td>)}
          </tr>
        )))}</tbody>
      </table>
    </div>
  );
}

function Delivery({ view }: { view: View }) {
  const series = views.value.series as Series | undefined;
  const data = useMemo(() => {
    const kw = (w: number | null) => (w === null ? null : w / 1e3);
    const from = view.now_ns - 8 * 3600e9;
    if (!series) return { at: [], lines: [] };
    const start = Math.max(series.at_ns.findIndex((t) => t >= from), 0);
    const at = series.at_ns.slice(start).map((t) => t / 1e9);
    const asked = series.instructed_w.slice(start).map(kw), gave = series.delivered_w.slice(start).map(kw);
    const none = (n: number): (number | null)[] => new Array(n).fill(null);
    const ahead = view.commitments.filter((c) => c.end_ns > view.now_ns && c.start_ns < view.now_ns + 24 * 3600e9);
    const low: (number | null)[] = none(at.length), high: (number | null)[] = none(at.length), plan: (number | null)[] = none(at.length);
    // What is owed at a time is the sum over all awards then: from each beginning or end to the next.
    const from_ns = view.now_ns + 1e9;
    const marks = [...new Set(ahead.flatMap((c) => [Math.max(c.start_ns, from_ns), c.end_ns]))].sort((a, b) => a - b);
    const sum = (all: (number | null)[]) => (all.includes(null) ? null : all.reduce<number>((whole, w) => whole + (w as number), 0));
    marks.slice(0, -1).forEach((mark, i) => {
      const end = marks[i + 1], now = ahead.filter((c) => c.start_ns <= mark && c.end_ns >= end);
      const told = now.length > 0 && { plan: now.reduce((whole, c) => whole + c.power_w, 0), low: sum(now.map((c) => c.low_w)), high: sum(now.map((c) => c.high_w)) };
      for (const t of told ? [mark, end - 1e9] : []) {
        at.push(t / 1e9); asked.push(null); gave.push(null); plan.push(kw(told ? told.plan : null)); low.push(kw(told ? told.low : null)); high.push(kw(told ? told.high : null));
      }
      at.push(end / 1e9); asked.push(null); gave.push(null); plan.push(null); low.push(null); high.push(null);
    });
    return { at, lines: [
      { label: 'delivered', values: gave, colour: '--ink', width: 1.8 },
      { label: 'instructed', values: asked, colour: '--entered', dash: [6, 3], steps: true },
      { label: 'committed', values: plan, colour: '--entered', width: 1.5 },
      { label: 'likely least', values: low, colour: '--quiet', dash: [2, 3], width: 1 },
      { label: 'likely most', values: high, colour: '--quiet', dash: [2, 3], width: 1 },
    ] };
  }, [series, view.commitments.map((c) => `${c.low_w} ${c.high_w}`).join()]);
  if (data.at.length < 2) return <p class="empty">The chart begins with the second minute.</p>;
  return <Chart at={data.at} lines={data.lines} unit="kW" height={270} now={view.now_ns / 1e9} label="Delivered against instructed power" />;
}

function Commitments({ view }: { view: View }) {
  if (!view.commitments.length) return <p class="quiet pad">No commitments in the next 24 hours.</p>;
  return (
    <div class="scroll short" tabIndex={0} role="region" aria-label="Commitments in the next 24 hours">
      <table>
        <thead><tr><th>Committed, next 24 h</th><th class="n">Power</th><th class="n" title="What the pool can give then of what is asked, on the mean over what is left; below: what in 5 and in 95 of 100 cases is less">Likely</th><th class="n">Price $/MWh</th></tr></thead>
        <tbody>{view.commitments.map((c) => (
          <tr key={c.start_ns} class={c.start_ns <= view.now_ns ? 'on' : ''}>
            <td>{clock(c.start_ns, false)} to {clock(c.end_ns, false)}{c.start_ns <= view.now_ns ? ' · now' : ''}</td><td class="n">{power(c.power_w)}</td>
            <td class="n">{power(c.likely_w)}<br />{c.likely_w !== null && <span class="quiet">{power(c.low_w)} to {power(c.high_w)}</span>}{Object.entries(c.lacks_w).sort((a, b) => b[1] - a[1]).map(([cause, w]) => <span class="chip" key={cause} title="Lacks of the award">{spaced(cause)} {power(w)}</span>)}</td><td class="n">{money(c.price_per_mwh)}</td>
          </tr>
        ))}</tbody>
      </table>
    </div>
  );
}

const above = (value: number | null, limit: number | null): number => value === null || limit === null || value <= limit + Math.max(5e3, 0.03 * Math.abs(limit)) ? 0 : value - limit;

const below = (value: number | null, limit: number | null): number => above(value === null ? null : -value, limit === null ? null : -limit);

/** How far a feeder's devices stand outside its limits on net power or above that on generation, beyond measurement noise (W). */
export const over = (row: FeederRow): number => Math.max(above(row.power_w, row.limit_high_w), below(row.power_w, row.limit_low_w), above(row.given_w, row.limit_given_w));

/** The limits on a feeder as a whole, in words; the tightest of each quantity. */
export function LimitOf({ row }: { row: FeederRow }) {
  const said = [
    row.limit_high_w !== null && row.limit_low_w !== null ? `${bound(row.limit_low_w)} to ${bound(row.limit_high_w)}`
      : row.limit_high_w !== null ? `\u2264 ${bound(row.limit_high_w)}` : row.limit_low_w !== null && `\u2265 ${bound(row.limit_low_w)}`,
    row.limit_given_w !== null && `generation \u2264 ${bound(row.limit_given_w)}`,
  ].filter(Boolean) as string[];
  return said.length ? <>{over(row) > 0 && <Mark priority={2} />} {said.map((one, k) => <span class="nobreak" key={one}>{k > 0 && ', '}{one}</span>)}</> : <span class="quiet">none</span>;
}

export function FeederTable({ rows }: { rows: FeederRow[] }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Feeders">
      <table>
        <thead><tr><th>Feeder</th><th class="n">Devices</th><th class="n">Abnormal</th><th class="n">DER power</th><th class="n">Limit</th><th class="n">Voltage pu</th><th class="n">Loading</th></tr></thead>
        <tbody>{rows.map((row) => (
          <tr key={row.feeder}>
            <td><a href={`/feeder/${row.feeder}`}>{row.feeder}</a> {row.violations > 0 && <span class="bad"><Mark priority={1} /> {row.violations} broken</span>}</td>
            <td class="n">{row.devices.toLocaleString('en-US')}</td>
            <td class="n">{row.abnormal ? <>{row.abnormal > Math.max(2, 0.1 * row.devices) && <Mark priority={3} />} {row.abnormal.toLocaleString('en-US')}</> : ''}</td>
            <td class="n">{power(row.power_w)}</td>
            <td class="n"><LimitOf row={row} /></td>
            <td class="n">{row.min_pu === null ? <span class="quiet">no model</span> : `${row.min_pu.toFixed(3)} to ${row.max_pu!.toFixed(3)}`}</td>
            <td class="n">{row.loading_frac === null ? '' : `${Math.round(row.loading_frac * 100)} %`}</td>
          </tr>
        ))}</tbody>
      </table>
    </div>
  );
}

export function Alarms() {
  const alarms = views.value.alarms as Alarm[] | undefined;
  const now = shell.value?.now_ns ?? 0;
  if (!alarms) return <p class="empty">Waiting …</p>;
  if (!alarms.length) return <p class="quiet pad">No alarms. Nothing needs you now.</p>;
  return (
    <ul class="alarms">
      {alarms.slice(0, 6).map((alarm) => (
        <li key={alarm.id}>
          <Mark priority={alarm.priority} quiet={alarm.is_acknowledged} />
          <div><b>{alarm.subject}</b> {alarm.title} <span class="quiet">since {age((now - alarm.since_ns) / 1e9)}</span><br /><span class="quiet">{alarm.consequence}.</span> <a class="fix" href={alarm.link}>{alarm.action} →</a></div>
        </li>
      ))}
    </ul>
  );
}
