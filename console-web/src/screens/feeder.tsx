import { useEffect, useMemo, useState } from 'preact/hooks';
import { get, may, post, Problem, show, toast, views } from '../api';
import { Bar, Figure } from '../parts/figure';
import { Mark } from '../parts/mark';
import { useView } from '../parts/load';
import { tellWaiting } from '../parts/second';
import type { Feeder as View, Member } from '../types';
import { age, bound, clock, power, spaced, STATES } from '../words';
import { LimitOf, over } from './overview';
import { wants } from './resource';

export function FeederScreen({ name }: { name: string }) {
  useEffect(() => show(`feeder:${name}`), [name]);
  const got = views.value[`feeder:${name}`] as (View & { problem?: string }) | undefined;
  const [table, setTable] = useState(false);
  if (!got) return <p class="empty">Asking for {name} …</p>;
  if (got.problem) return <p class="empty">{got.problem}. <a href="/feeders">To the feeders</a></p>;
  const view = got as View;
  const row = view.row;
  return (
    <div class="screen">
      <header class="title">
        <nav aria-label="Groups above it"><a href="/feeders">Feeders</a><a href={`/resource/${view.id}`}>{view.id} as a resource: claims, limits, commands</a></nav>
        <h1>{view.id} <small>{row.devices.toLocaleString('en-US')} devices · revision {view.revision}</small></h1>
        <Mode view={view} />
      </header>
      <div class="figures">
        <Figure label="Transformer and line loading" value={<>{(row.loading_frac ?? 0) > 1 && <Mark priority={1} />} {row.loading_frac === null ? 'no model' : `${Math.round(row.loading_frac * 100)} %`}</>} note="the most loaded branch">
          <Bar value={row.loading_frac ?? 0} target={1} low={0} high={1.5} label="loading against its limit" />
        </Figure>
        <Figure label="Voltage" value={row.min_pu === null ? 'no model' : <>{row.min_pu.toFixed(3)} <small>to {row.max_pu!.toFixed(3)} pu</small></>} note={view.min_pu_limit === null ? '' : `limits ${view.min_pu_limit.toFixed(2)} to ${view.max_pu_limit!.toFixed(2)} pu`} />
        <Figure label="DER power" value={power(row.power_w)} note={row.power_w === null ? 'no device was heard' : row.power_w < 0 ? 'drawn from the grid' : 'fed into the grid'} />
        <Figure label="Limit in force" value={<LimitOf row={row} />} note={limitSays(row)} />
        <Figure label="Abnormal devices" value={row.abnormal.toLocaleString('en-US')} note={`of ${row.devices.toLocaleString('en-US')}`} />
        <Figure label="Limits broken" value={<>{view.violations.length > 0 && <Mark priority={1} />} {view.violations.length}</>} note="by the last power flow" />
      </div>
      <section class="panel">
        <h2>One-line <small>source at the left; line weight is loading, bar is DER power at the bus (right feeds in), ring marks a broken limit</small>
          <button class="plain" aria-pressed={table} onClick={() => setTable(!table)}>{table ? 'As a picture' : 'As a table'}</button></h2>
        {!view.buses.length ? <p class="empty">No network model of this feeder, or its power flow has no solution now.</p> : table ? <BusTable view={view} /> : <OneLine view={view} />}
      </section>
      <div class="two">
        <section class="panel">
          <h2>Limits in force</h2>
          <LimitTable view={view} />
          <h2>Broken limits</h2>
          {!view.violations.length ? <p class="quiet pad">None.</p> : (
            <table><thead><tr><th>Place</th><th>What</th><th class="n">Value</th><th class="n">Limit</th></tr></thead>
              <tbody>{view.violations.slice(0, 40).map((v) => <tr key={v.place + v.what}><td><Mark priority={1} /> {v.place}</td><td>{v.what}</td><td class="n">{v.value.toFixed(3)}</td><td class="n">{v.limit.toFixed(3)}</td></tr>)}</tbody></table>
          )}
        </section>
        <Members name={view.id} count={row.devices} />
      </div>
    </div>
  );
}

function limitSays(row: View['row']): string {
  if (over(row) > 0) return `over by ${power(over(row))}`;
  if (row.limit_given_w !== null) return `its devices give ${power(row.given_w)}; what they draw is free`;
  return '';
}

/** How loads count beneath a limit's upper end: a setting, where the line of a group is limited. */
const LOADS: Record<string, string> = {
  counted: 'beneath its upper end loads count at what they draw',
  shared: 'beneath its upper end loads count for nothing, as it shares devices with another limit, and one of both has a lower end',
  may_stop: 'beneath its upper end loads count for nothing, as they may stop',
};

/** What was asked for the feeder as a whole, tightest first; then what reaches its devices by other ways. */
function LimitTable({ view }: { view: View }) {
  if (!view.asked.length && !view.limits.length) return <p class="quiet pad">None beyond ratings.</p>;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Limits in force">
      <table><thead><tr><th>Bounds</th><th>Limit</th><th>Authority</th><th>From</th><th>Until</th></tr></thead>
        <tbody>
          {view.asked.map((a) => (
            <tr key={a.record}>
              <td>{a.bounds}{a.resource !== view.id && <><br /><a class="quiet" href={`/resource/${a.resource}`}>{a.resource}</a></>}</td>
              <td>{a.low_w !== null && a.bounds !== 'generation' ? `${bound(a.low_w)} to ${bound(a.high_w)}` : `\u2264 ${bound(a.high_w)}`}<br /><span class="quiet">{a.caps_high_w === null ? `on ${a.devices.toLocaleString('en-US')} devices` : `caps of its ${a.devices.toLocaleString('en-US')} devices add up to ${power(a.caps_high_w)}`}{a.high_w !== null && LOADS[a.loads] && <><br />{LOADS[a.loads]} (<code>loads</code> of [limits] in tieline.toml)</>}</span></td>
              <td>{a.level} {a.level_name}</td>
              <td>{a.source}<br /><a class="quiet" href={`/trace/${encodeURIComponent(a.record)}`}>{a.because.includes(' ') ? a.because : 'cause and effects'}</a></td>
              <td>{a.end_ns === null ? 'revoked' : clock(a.end_ns)}</td>
            </tr>
          ))}
          {view.limits.map((c) => <tr key={c.id}><td>single devices</td><td>{wants(c)}<br /><span class="quiet">{c.why}</span></td><td>{c.level} {c.level_name}</td><td>{c.source}</td><td>{c.end_ns === null ? 'revoked' : clock(c.end_ns)}</td></tr>)}
        </tbody></table>
    </div>
  );
}

const MODES: Record<string, string> = {
  Automatic: 'the market, programs, prices and people move its devices',
  Manual: 'people, their events and the grid operator move its devices; machines don\u2019t',
  Disabled: 'only the grid operator and stronger levels move its devices',
};

/** Who may move the feeder's devices, and for those who may, the switch. */
function Mode({ view }: { view: View }) {
  const [to, setTo] = useState('');
  const [because, setBecause] = useState('');
  const [problem, setProblem] = useState('');
  const act = (e: Event) => {
    e.preventDefault();
    post<{ payload?: string; id?: string }>(`/feeders/${encodeURIComponent(view.id)}/mode`, { mode: to, because }).then((answer) => { if (answer.payload) tellWaiting(answer.id!); else toast.value = `${view.id} is ${to}; recorded.`; setTo(''); setBecause(''); setProblem(''); }, (e) => setProblem(e instanceof Problem ? e.says() : String(e)));
  };
  return (
    <div class="acts">
      <span>Mode <b class={view.mode === 'Automatic' ? '' : 'entered'}>{view.mode}</b>: <span class="quiet">{MODES[view.mode]}</span></span>
      {may('set_mode') && Object.keys(MODES).filter((mode) => mode !== view.mode).map((mode) => <button key={mode} aria-expanded={to === mode} onClick={() => setTo(to === mode ? '' : mode)}>{mode} …</button>)}
      {to && (
        <form onSubmit={act}>
          <label>Because<input required maxLength={400} value={because} onInput={(e) => setBecause(e.currentTarget.value)} /></label>
          <p class="quiet">{to}: {MODES[to]}. Limits hold in every mode. It concerns {view.row.devices.toLocaleString('en-US')} devices, at once; on a large feeder a second person confirms it.</p>
          <button disabled={!because.trim()}>Set {to}</button>
        </form>
      )}
      {problem && <p class="problem" role="alert">{problem}</p>}
    </div>
  );
}

function OneLine({ view }: { view: View }) {
  const plan = useMemo(() => {
    const across = Math.max(...view.buses.map((b) => b.x)), down = Math.max(...view.buses.map((b) => b.y));
    const dx = Math.min(1420 / Math.max(across, 1), 200), dy = Math.max(Math.min(620 / Math.max(down, 1), 42), 13);
    // Always as wide: a small feeder is not drawn with larger letters than a big one.
    return { dx, dy, width: 1590, height: down * dy + 52 };
  }, [view.id, view.buses.length]);
  const px = (x: number) => 34 + x * plan.dx, py = (y: number) => 24 + y * plan.dy;
  const most = Math.max(...view.buses.map((b) => Math.abs(b.der_w)), 1);
  const low = view.min_pu_limit ?? 0, high = view.max_pu_limit ?? 9;
  const by = new Map(view.buses.map((bus) => [bus.id, bus]));
  const worst = [...view.buses].sort((a, b) => a.voltage_pu - b.voltage_pu);
  const named = new Set([worst[0]?.id, worst[worst.length - 1]?.id]);
  return (
    <svg class="oneline" viewBox={`0 0 ${plan.width} ${plan.height}`} role="img" aria-label={`One-line of ${view.id}: ${view.buses.length} buses; a table says the same`}>
      {view.branches.map((branch) => {
        const a = by.get(branch.start)!, b = by.get(branch.end)!;
        const [near, far] = a.x <= b.x ? [a, b] : [b, a];
        const over = branch.loading_frac > 1;
        return (
          <g key={branch.id}>
            <path class={`branch${over ? ' out' : ''}`} stroke-width={over ? 3.5 : 0.8 + 3.4 * Math.min(branch.loading_frac, 1)} d={`M${px(near.x)} ${py(near.y)}V${py(far.y)}H${px(far.x)}`}><title>{`${branch.id}: ${Math.round(branch.loading_frac * 100)} % of its limit`}</title></path>
            {branch.kind === 'transformer' && <g class="trafo"><circle class="bus" cx={(px(near.x) + px(far.x)) / 2 - 5} cy={py(far.y)} r="7" /><circle class="bus" cx={(px(near.x) + px(far.x)) / 2 + 5} cy={py(far.y)} r="7" />
              <text x={(px(near.x) + px(far.x)) / 2} y={py(far.y) + 21} text-anchor="middle">{Math.round(branch.loading_frac * 100)} %</text></g>}
          </g>
        );
      })}
      {view.buses.map((bus) => {
        const out = bus.voltage_pu < low || bus.voltage_pu > high;
        const size = (Math.abs(bus.der_w) / most) * Math.min(plan.dx * 0.8, 44);
        return (
          <g key={bus.id}>
            {bus.devices > 0 && <rect class="der" x={px(bus.x) + (bus.der_w < 0 ? -size : 0)} y={py(bus.y) - 1.6} width={size} height="3.2" />}
            <circle class={`bus${out ? ' out' : ''}`} cx={px(bus.x)} cy={py(bus.y)} r={out ? 5 : 3.2}><title>{`bus ${bus.id}: ${bus.voltage_pu.toFixed(3)} pu, DER ${power(bus.der_w)} of ${bus.devices} devices, net ${power(bus.net_w)}`}</title></circle>
            {(named.has(bus.id) || (out && bus.id % 3 === 0)) && <text x={px(bus.x) + (bus.x === 0 ? -4 : 9 + (bus.der_w > 0 ? size : 0))} y={py(bus.y) + (bus.x === 0 ? -12 : 4)}>{`bus ${bus.id} ${bus.voltage_pu.toFixed(3)} pu`}</text>}
          </g>
        );
      })}
    </svg>
  );
}

function BusTable({ view }: { view: View }) {
  const rows = [...view.buses].sort((a, b) => a.voltage_pu - b.voltage_pu);
  return (
    <div class="scroll tall" tabIndex={0} role="region" aria-label="Buses">
      <table><thead><tr><th>Bus</th><th class="n">Voltage pu</th><th class="n">DER power</th><th class="n">Devices</th><th class="n">Net power</th></tr></thead>
        <tbody>{rows.map((bus) => <tr key={bus.id}><td>{bus.id}</td><td class="n">{bus.voltage_pu.toFixed(4)}</td><td class="n">{power(bus.der_w)}</td><td class="n">{bus.devices}</td><td class="n">{power(bus.net_w)}</td></tr>)}</tbody></table>
    </div>
  );
}

function Members({ name, count }: { name: string; count: number }) {
  const [at, setAt] = useState(0);
  const { view } = useView<Member[]>(`/groups/${name}/members?at=${at}&count=50`, 15);
  void get;
  return (
    <section class="panel">
      <h2>Devices <small>abnormal first, {at + 1} to {Math.min(at + 50, count)} of {count}</small>
        <button class="plain" disabled={at === 0} onClick={() => setAt(Math.max(at - 50, 0))}>Before</button><button class="plain" disabled={at + 50 >= count} onClick={() => setAt(at + 50)}>Next</button></h2>
      <div class="scroll tall" tabIndex={0} role="region" aria-label="Devices">
        <table><thead><tr><th>Device</th><th>Kind</th><th>State</th><th class="n">Power</th><th>Age</th></tr></thead>
          <tbody>{(view ?? []).map((m) => <tr key={m.resource}><td><a href={`/resource/${m.resource}`}>{m.resource}</a></td><td>{spaced(m.kind)}</td><td class={m.state === 4 ? 'staleword' : m.state > 1 && m.state < 4 ? 'bad' : ''}>{m.state > 1 && m.state < 4 && <Mark priority={m.state === 3 ? 1 : 2} />} {STATES[m.state].word}</td><td class="n">{power(m.power_w)}</td><td>{age(m.age_s)}</td></tr>)}</tbody></table>
      </div>
    </section>
  );
}
