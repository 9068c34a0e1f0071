import { useEffect, useState } from 'preact/hooks';
import { get, may, post, Problem, show, toast, views } from '../api';
import { CanBeCalled } from '../parts/capability';
import { Engine } from '../parts/engine';
import { Bar } from '../parts/figure';
import { Contracts } from '../parts/contracts';
import { Mark } from '../parts/mark';
import { tellWaiting } from '../parts/second';
import { TraceList } from '../parts/tracelist';
import type { Claim, Resource as View, Trace } from '../types';
import { age, bound, clock, energy, money, power, spaced, UNKNOWN, volume } from '../words';

export function ResourceScreen({ name }: { name: string }) {
  useEffect(() => show(`resource:${name}`), [name]);
  const got = views.value[`resource:${name}`] as (View & { problem?: string }) | undefined;
  if (!got) return <p class="empty">Asking for {name} …</p>;
  if (got.problem) return <p class="empty">{got.problem}. <a href="/">To the overview</a></p>;
  const view = got as View;
  return (
    <div class="resource">
      <header class="title">
        <nav aria-label="Groups above it">{view.ancestors.filter((group) => group.kind !== 'generation').map((group) => <a key={group.id} href={group.kind === 'feeder' ? `/feeder/${group.id}` : `/resource/${group.id}`} title={`${group.purpose}: ${group.kind}`}>{group.id}</a>)}</nav>
        <h1>{view.id} <small>{spaced(view.kind)}{view.is_group ? `, ${view.devices.toLocaleString('en-US')} devices` : ''} · {ratings(view)} · revision {view.revision}</small></h1>
        <p class="controls"><b>In control now:</b> {view.controls}.</p>
        {view.feeder_mode && view.feeder_mode !== 'Automatic' && <p class="entered">Its feeder is {view.feeder_mode}: {view.feeder_mode === 'Manual' ? 'people, their events and the grid operator move it; machines don\u2019t' : 'only the grid operator and stronger levels move it'}.</p>}
        {view.waits && <p class="entered">Its command is not yet what is in force: {view.waits}.</p>}
        {view.unresponsive && <p class="bad"><Mark priority={3} /> Not responding: called and able, it stood still in {view.unresponsive.strikes} calls running, the last at {clock(view.unresponsive.last_ns)}. It counts so until it follows one, or until {clock(view.unresponsive.until_ns)}.</p>}
        {view.mismatch && <p class="bad" role="alert"><Mark priority={2} /> The two views disagree: {view.mismatch}.</p>}
        <Acts view={view} />
      </header>
      <div class="two">
        <MarketSide view={view} />
        <ScadaSide view={view} />
      </div>
      <CanBeCalled name={view.id} />
      <Engine view={view} />
      <Why view={view} />
      {may('see_contracts') && !view.is_group && <Contracts resource={view.id} />}
      <div class="two">
        <Command view={view} />
        {view.is_group ? <Stages view={view} /> : <Readings view={view} />}
      </div>
      {view.part_count > 0 && <Parts view={view} />}
      <Chain name={view.id} batch={view.command?.batch ?? ''} />
    </div>
  );
}

function ratings(view: View): string {
  const parts = [];
  if (view.max_inject_w) parts.push(`gives up to ${power(view.max_inject_w)}`);
  if (view.max_absorb_w) parts.push(`draws up to ${power(view.max_absorb_w)}`);
  if (view.energy_wh) parts.push(`stores ${energy(view.energy_wh)}`);
  return parts.join(', ');
}

function Row({ label, value, title }: { label: string; value: preact.ComponentChildren; title?: string }) {
  return <><dt title={title}>{label}</dt><dd>{value}</dd></>;
}

function MarketSide({ view }: { view: View }) {
  const m = view.market;
  return (
    <section class="panel side">
      <h2>Market view <small>IT</small></h2>
      <dl>
        <Row label="Pool" value={m.pool ? <a href={`/resource/${m.pool}`}>{m.pool}</a> : 'in no pool'} />
        <Row label="Pool owes" title="Above base, positive into the grid" value={m.obligation_w === null ? 'nothing now' : `${power(m.obligation_w)}${m.until_ns ? ` until ${clock(m.until_ns, false)}` : ''}`} />
        <Row label="Its share" title="What the desk asks of this resource, above its base" value={power(m.share_w)} />
        <Row label="Base" title="What it would do by itself, learnt while nobody commands it" value={power(m.base_w)} />
        <Row label="Delivers above base" value={power(m.delivered_w)} />
        <Row label="Price" value={m.price_per_mwh === null ? 'none now' : `${money(m.price_per_mwh)} $/MWh`} />
        <Row label="May serve" value={m.opted_out ? <span class="entered">no: the owner opted out</span> : !m.eligible ? 'no: a rule excludes it' : m.left_out_until_ns ? <><Mark priority={2} /> left out until {clock(m.left_out_until_ns, false)}: it did not respond</> : 'yes'} />
        <Row label="Because" value={m.because ? <a href={`/trace/${encodeURIComponent(m.because)}`}>{m.because.split(':')[0]}</a> : 'nothing is owed'} />
      </dl>
    </section>
  );
}

function ScadaSide({ view }: { view: View }) {
  const s = view.scada;
  const stale = s.quality.length > 0;
  const lowest = -view.max_absorb_w, highest = view.max_inject_w;
  return (
    <section class="panel side">
      <h2>SCADA view <small>OT</small></h2>
      <dl>
        <Row label="Measured" value={<span class={stale ? 'staleword' : ''}>{power(s.power_w)}{s.age_s !== null && <small> {age(s.age_s)} old</small>}</span>} />
        <Row label="Target" title="What it is to do: by its command, or by itself within its limits" value={<>{power(s.target_w)} <small>{s.target_of}</small></>} />
        <Row label="Limits in force" value={`${bound(s.low_w)} to ${bound(s.high_w)}`} />
        <Row label="" value={<Bar value={s.power_w} target={s.target_w} low={lowest} high={Math.max(highest, 1)} label={`measured ${power(s.power_w)}, target ${power(s.target_w)}`} />} />
        <Row label="Can add / take" value={`${power(s.available_up_w)} / ${power(s.available_down_w)}`} />
        <Row label="Quality" value={stale ? <span class="staleword">{s.quality.join(', ')}</span> : 'good'} />
        <Row label="Mode" value={spaced(s.mode)} />
        <Row label="Link" value={s.link} />
      </dl>
    </section>
  );
}

const span = (claim: Claim): string => `${clock(claim.start_ns, false)} to ${claim.end_ns === null ? 'revoked' : clock(claim.end_ns, false)}`;
export const wants = (claim: Claim): string => claim.kind === 'limit' ? `${bound(claim.low_w)} to ${bound(claim.high_w)}` : claim.kind === 'gate' ? claim.level <= 4 ? 'out of service for markets' : 'no weaker targets' : power(claim.value_w);

function Why({ view }: { view: View }) {
  return (
    <section class="panel">
      <h2>Who asks what, and who wins <small>a lower level is stronger; limits meet, targets compete</small></h2>
      {!view.claims.length && <p class="quiet pad">No claims: nobody names a power or a limit; it may do {bound(view.scada.low_w)} to {bound(view.scada.high_w)}.</p>}
      {view.claims.length > 0 && <div class="scroll" tabIndex={0} role="region" aria-label="Claims">
        <table>
          <thead><tr><th class="n">Level</th><th>Authority</th><th>From</th><th>Wants</th><th>Holds</th><th>Outcome</th><th>Why</th></tr></thead>
          <tbody>{view.claims.map((claim) => (
            <tr key={claim.id} class={claim.outcome}>
              <td class="n">{claim.level}</td><td>{claim.level_name}</td><td>{claim.source}</td><td>{wants(claim)}</td><td>{span(claim)}</td>
              <td><b>{claim.outcome}</b></td><td>{claim.why}{claim.because && <span class="quiet"> · {claim.because.length > 60 ? claim.because.split(':')[0] : claim.because}</span>}</td>
            </tr>
          ))}</tbody>
        </table>
      </div>}
      {view.limits.length > 0 && <p class="pad">Limits by level: {view.limits.map((limit) => <span class="chip" key={limit.level}>{limit.level} {limit.level_name}: {bound(limit.low_w)} to {bound(limit.high_w)}</span>)}</p>}
      {view.conflicts.length > 0 && <p class="pad bad"><Mark priority={3} /> {view.conflicts.length} equal claims disagree; the order of rank settled it.</p>}
    </section>
  );
}

const STEPS = ['issued', 'delivered', 'acknowledged', 'effective', 'verified'];
/** How far each stage goes that a link reports; what lies beyond was read off the meter, and verified always is. */
const SAID: Record<string, number> = { sent: 1, accepted: 2, executing: 3, done: 3, unconfirmed: 1 };

function Command({ view }: { view: View }) {
  const c = view.command;
  return (
    <section class="panel side">
      <h2>{view.is_group ? 'Group limits' : 'Command'} <small>five states, not one "success"</small></h2>
      {view.is_group ? <p class="quiet pad">A group is commanded through its devices; the counts beside say how far they have come.</p> : !c ? <p class="quiet pad">It was never commanded.</p> : (
        <>
          <ol class="steps" aria-label="How far the command has come">
            {STEPS.map((step, k) => <li key={step} class={c.reached[k] ? 'done' : ''}><b>{step}</b><span>{!c.reached[k] ? 'not yet' : k > 1 && k > (SAID[c.stage] ?? 0) ? 'yes, by its meter' : 'yes'}</span></li>)}
          </ol>
          <dl>
            <Row label="Target" value={c.target_w === null ? 'free within limits' : power(c.target_w)} />
            <Row label="Limits" value={`${bound(c.low_w)} to ${bound(c.high_w)}`} />
            <Row label="Link says" title="The last that its link reported of the command" value={['rejected', 'unconfirmed', 'expired'].includes(c.stage) ? <><Mark priority={2} /> {c.stage}</> : c.stage} />
            <Row label="Last step" value={clock(c.issued_ns)} />
            {c.valid_until_ns !== null && c.valid_until_ns <= view.now_ns
              ? <Row label="Held until" value={`${clock(c.valid_until_ns)}: its time is over`} />
              : <Row label="Holds until" value={`${clock(c.valid_until_ns)}, then falls back to ${power(c.revert_w)}`} />}
            <Row label="Read back" title="What its link read back from the device after the command" value={c.observed_w === null ? 'its link reads nothing back' : power(c.observed_w)} />
            <Row label="By its meter" title="Verified is said by this, whatever the device reported" value={power(view.scada.power_w)} />
          </dl>
        </>
      )}
    </section>
  );
}

function Stages({ view }: { view: View }) {
  const most = Math.max(view.stages.issued ?? 0, 1);
  return (
    <section class="panel side">
      <h2>Commands of its devices <small>in force now; verified is by each device's own meter, whatever it reported</small></h2>
      <dl class="stages">{STEPS.map((step) => <Row key={step} label={step} value={<><Bar value={view.stages[step] ?? 0} target={null} low={0} high={most} label={step} /> {(view.stages[step] ?? 0).toLocaleString('en-US')}</>} />)}</dl>
    </section>
  );
}

function Readings({ view }: { view: View }) {
  return (
    <section class="panel side">
      <h2>Readings <small>with quality and age</small></h2>
      <div class="scroll" tabIndex={0} role="region" aria-label="Readings">
        <table>
          <thead><tr><th>Point</th><th class="n">Value</th><th>Age</th><th>Quality</th></tr></thead>
          <tbody>{view.readings.map((r) => (
            <tr key={r.point}>
              <td title={[r.iec61850 && `IEC 61850 ${r.iec61850}`, r.sunspec && `SunSpec ${r.sunspec}`].filter(Boolean).join(', ')}>{r.says}</td>
              <td class="n">{r.value !== null && r.point.startsWith('is_') ? (r.value > 0.5 ? 'yes' : 'no') : r.unit === 'W' ? power(r.value) : r.unit === 'Wh' ? energy(r.value) : r.value !== null && (r.unit === 'VA' || r.unit === 'var') ? volume(r.value, r.unit) : r.value === null ? UNKNOWN : `${r.unit === '' || r.unit === '1' ? `${(r.value * 100).toFixed(1)} %` : `${r.value.toFixed(1)} ${r.unit}`}`}</td>
              <td>{age(r.age_s)}</td><td>{r.quality.length ? <span class="staleword">{r.quality.join(', ')}</span> : 'good'}</td>
            </tr>
          ))}</tbody>
        </table>
      </div>
    </section>
  );
}

function Parts({ view }: { view: View }) {
  return (
    <section class="panel">
      <h2>Device tree <small>what stands beneath it, abnormal first{view.part_count > view.parts.length ? ` · ${view.parts.length} of ${view.part_count}` : ''}</small></h2>
      <div class="scroll tall" tabIndex={0} role="region" aria-label="Device tree">
        <table>
          <thead><tr><th>Beneath</th><th>Kind</th><th class="n">Devices</th><th class="n">Power</th><th class="n">Abnormal</th></tr></thead>
          <tbody>{view.parts.map((part) => (
            <tr key={part.id + part.kind}>
              <td>{part.id ? <a href={part.kind === 'feeder' ? `/feeder/${part.id}` : `/resource/${part.id}`}>{part.id}</a> : <>all {spaced(part.kind)}</>}</td><td>{spaced(part.kind)}</td>
              <td class="n">{part.devices.toLocaleString('en-US')}</td><td class="n">{power(part.power_w)}</td><td class="n">{part.abnormal ? <><Mark priority={3} quiet={part.abnormal < Math.max(2, 0.1 * part.devices)} /> {part.abnormal.toLocaleString('en-US')}</> : ''}</td>
            </tr>
          ))}</tbody>
        </table>
      </div>
    </section>
  );
}

function Chain({ name, batch }: { name: string; batch: string }) {
  const [trace, setTrace] = useState<Trace | null>(null);
  const [problem, setProblem] = useState('');
  useEffect(() => {
    setTrace(null);
    if (may('see_trace')) get<Trace>(`/resources/${encodeURIComponent(name)}/why`).then(setTrace, (e) => setProblem(String(e.message)));
  }, [name, batch]);
  if (!may('see_trace')) return null;
  return (
    <section class="panel">
      <h2>The trace <small>from the cause to this device and back; each line leads on</small></h2>
      {problem ? <p class="problem">{problem}</p> : trace ? <TraceList trace={trace} /> : <p class="empty">Following the chain …</p>}
    </section>
  );
}

// An end that is left empty is that of the device itself.
const end = (text: string, its: number): number => (text.trim() === '' ? its : Number(text) * 1e3);

function Acts({ view }: { view: View }) {
  const [open, setOpen] = useState(false);
  const [low, setLow] = useState('');
  const [high, setHigh] = useState('');
  const [minutes, setMinutes] = useState('60');
  const [because, setBecause] = useState('');
  const [problem, setProblem] = useState('');
  const act = (path: string, body?: unknown, done?: string) => post<{ done?: boolean; payload?: string; id?: string; says?: string }>(`/resources/${encodeURIComponent(view.id)}/${path}`, body)
    .then((answer) => { setOpen(false); setProblem(''); if (answer.payload) tellWaiting(answer.id!); else toast.value = !answer.says ? done ?? 'Done and recorded.' : done ? `${done} Note that ${answer.says}.` : `Recorded; ${answer.says}.`; }, (e) => setProblem(e instanceof Problem ? e.says() : String(e)));
  const mine = view.claims.some((claim) => claim.source === 'console');
  return (
    <div class="acts">
      {may('limit') && <button onClick={() => setOpen(!open)} aria-expanded={open}>Limit …</button>}
      {may('limit') && mine && <button onClick={() => act('release', undefined, 'Limit released; what held before holds again.')}>Release our limit</button>}
      {may('opt') && !view.is_group && (view.market.opted_out
        ? <button onClick={() => act('opt-in')}>Back in for its owner</button>
        : <button onClick={() => act('opt-out')}>Opt out for its owner</button>)}
      {open && (
        <form onSubmit={(e) => { e.preventDefault(); void act('limit', { low_w: end(low, -view.max_absorb_w), high_w: end(high, view.max_inject_w), minutes: Number(minutes), because }, 'Limit in force; it ends by itself.'); }}>
          <label title="Below zero it draws: at least -5 keeps it from drawing more than 5 kW. Left empty: no limit at this end">At least, kW into the grid<input inputMode="decimal" placeholder="no limit" value={low} onInput={(e) => setLow(e.currentTarget.value)} /></label>
          <label title="Left empty: no limit at this end">At most, kW into the grid<input inputMode="decimal" placeholder="no limit" value={high} onInput={(e) => setHigh(e.currentTarget.value)} /></label>
          <label>For, minutes<input inputMode="numeric" required value={minutes} onInput={(e) => setMinutes(e.currentTarget.value)} /></label>
          <label>Because<input required value={because} onInput={(e) => setBecause(e.currentTarget.value)} /></label>
          <p class="quiet">Affects {view.devices.toLocaleString('en-US')} device{view.devices === 1 ? '' : 's'}, at the level of an operating envelope. Measured now: {power(view.scada.power_w)}.</p>
          <button disabled={(low.trim() === '' && high.trim() === '') || Number.isNaN(Number(low)) || Number.isNaN(Number(high))}>Put into force</button>
        </form>
      )}
      {problem && <p class="problem" role="alert">{problem}</p>}
    </div>
  );
}
