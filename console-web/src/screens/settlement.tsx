import { Chart } from '../parts/chart';
import { useView } from '../parts/load';
import { past } from '../api';
import { Mark } from '../parts/mark';
import { Uncounted } from '../parts/uncounted';
import type { Day, Settlement as View } from '../types';
import { clock, day, energy, money, power, spaced } from '../words';

export function SettlementScreen() {
  const { view, problem } = useView<View>('/settlement', 30);
  if (problem) return <p class="problem pad">{problem}</p>;
  if (!view) return <p class="empty">Adding up …</p>;
  const twice = (of: (i: View['intervals'][number]) => number | null) => view.intervals.flatMap((i) => { const w = of(i); return w === null ? [null, null] : [w / 1e3, w / 1e3]; });
  return (
    <div class="screen">
      <h1 class="hidden">Settlement</h1>
      <Days none={!view.statements.length} now={view.now_ns} />
      {view.statements.map((s) => (
        <section class="panel" key={s.id}>
          <h2>Statement {day(s.start_ns)} <small>{s.pool} · baseline {s.rule} · version {s.version}</small></h2>
          <div class="two">
            <dl>
              <dt>Total</dt><dd><b>{money(s.total)} {s.currency}</b></dd>
              {Object.entries(s.by_cause).map(([cause, amount]) => <><dt>{spaced(cause)}</dt><dd>{money(amount)}</dd></>)}
              {s.body.operator && <><dt>Operator's share</dt><dd>{money(s.body.operator)}</dd></>}
              {s.body.shares && <><dt>Owners' shares</dt><dd>{Object.keys(s.body.shares).length.toLocaleString('en-US')} owners, {money(Object.values(s.body.shares).reduce((a, b) => a + Number(b), 0))}</dd></>}
              {Object.entries(s.body.shared_by ?? {}).map(([by, one]) => <><dt>shared by {spaced(by)}</dt><dd>{money(one.amount)} · {energy(one.milli_wh / 1e3)}</dd></>)}
            </dl>
            <dl>
              <dt>Baseline days</dt><dd>{s.body.days?.join(', ') ?? 'unknown'}</dd>
              <dt>Excluded</dt><dd>{s.body.excluded?.length ? s.body.excluded.map(([d, why]) => <div key={d}>{d}: {why}</div>) : 'none'}</dd>
              <dt>Adjustment</dt><dd>{s.body.factor?.toFixed(4) ?? 'none'}</dd><dt>Rule's source</dt><dd>{s.body.source ?? ''}</dd>
            </dl>
          </div>
          {s.body.flags?.map((text) => <p class="pad" key={text}><Mark priority={3} /> {text}</p>)}
          <div class="scroll tall" tabIndex={0} role="region" aria-label="Lines">
            <table><thead><tr><th>Interval</th><th>Kind</th><th>Cause</th><th class="n">Energy</th><th class="n">Amount</th></tr></thead>
              <tbody>{s.lines.map((line) => <tr key={line.id}><td><a href={`/trace/${encodeURIComponent(line.id)}`}>{clock(line.start_ns, false)} to {clock(line.end_ns, false)}</a></td><td>{spaced(line.kind)}</td><td>{spaced(line.cause)}</td><td class="n">{energy(line.energy_wh)}</td><td class="n">{money(line.amount)}</td></tr>)}</tbody></table>
          </div>
        </section>
      ))}
      <section class="panel">
        <h2>Asked against delivered <small>each dispatch interval of the last day, beside its award</small></h2>
        {!view.intervals.length && <p class="quiet pad">No interval was dispatched in the last day.</p>}
        {view.intervals.length > 1 && <Chart at={view.intervals.flatMap((i) => [i.start_ns / 1e9, i.end_ns / 1e9 - 1])} unit="kW" height={200} label="Awarded, instructed and delivered by interval"
          lines={[{ label: 'awarded', values: twice((i) => i.awarded_w), colour: '--quiet', dash: [2, 3] }, { label: 'instructed', values: twice((i) => i.asked_w), colour: '--entered', dash: [6, 3] }, { label: 'delivered', values: twice((i) => i.delivered_w), colour: '--ink' }]} />}
        {view.intervals.length > 0 && <div class="scroll tall" tabIndex={0} role="region" aria-label="Intervals">
          <table><thead><tr><th>Interval</th><th class="n">Awarded</th><th class="n">Instructed</th><th class="n">Delivered</th><th title="What was instructed below the award">Withheld, by cause</th><th title="What was delivered below the instruction">Lacking, by cause</th></tr></thead>
            <tbody>{[...view.intervals].reverse().map((i) => <tr key={i.record}><td><a href={`/trace/${encodeURIComponent(i.record)}`}>{clock(i.start_ns, false)} to {clock(i.end_ns, false)}</a></td><td class="n">{i.awarded_w === null ? <span class="quiet">none</span> : power(i.awarded_w)}</td><td class="n">{power(i.asked_w)}</td><td class="n">{power(i.delivered_w)}<Uncounted spans={i.uncounted} /></td><td><Causes of={i.withheld} /></td><td><Causes of={i.causes} /></td></tr>)}</tbody></table>
        </div>}
      </section>
    </div>
  );
}

/** Causes with their power, the largest first. */
function Causes({ of }: { of: Record<string, number> }) {
  return <>{Object.entries(of).sort((a, b) => b[1] - a[1]).map(([cause, w]) => <span class="chip" key={cause}>{spaced(cause)} {power(w)}</span>)}</>;
}

const STATE: Record<string, string> = { running: 'runs: settled when its last hour is over and its meters are in', settled: 'settled', waiting: 'waits' };

/** Award days and how far each is; one that waits says by name what it lacks. */
function Days({ none, now }: { none: boolean; now: number }) {
  const { view, problem } = useView<Day[]>('/settlements', 30);
  const days = past.value === null && view ? view : [];
  if (!days.length) return none ? <section class="panel"><h2>Statements</h2><p class="quiet pad">None yet: a day is settled once its meters are in. What was tracked so far stands below.{problem && past.value === null && ` ${problem}.`}</p></section> : null;
  return (
    <section class="panel">
      <h2>Days with awards <small>newest first; a day is settled once its meters and prices are in</small></h2>
      <div class="scroll tall" tabIndex={0} role="region" aria-label="Days with awards">
        <table><thead><tr><th>Day</th><th>Pool</th><th class="n">Awards</th><th class="n">Awarded</th><th>State</th><th>What it lacks</th><th class="n">Newest statement</th></tr></thead>
          <tbody>{days.map((d) => {
            const newest = d.statements[d.statements.length - 1];
            return (
              <tr key={d.pool + d.day}>
                <td>{day(d.start_ns)}<br /><span class="quiet">{clock(d.start_ns, false)} to {clock(d.end_ns, false)}</span></td><td><a href={`/resource/${d.pool}`}>{d.pool}</a></td>
                <td class="n">{d.awards}</td><td class="n">{energy(d.awarded_wh)}</td>
                <td>{d.state === 'waiting' && <Mark priority={3} quiet={d.waits_until_ns > now} />} {STATE[d.state] ?? d.state}</td>
                <td>{d.missing.map((what) => <div key={what}>{what}</div>)}{d.state === 'waiting' && <span class="quiet">{d.waits_until_ns > 0 ? `goes on without late readings from ${day(d.waits_until_ns)} ${clock(d.waits_until_ns, false)}` : 'waits until this is mended'}</span>}</td>
                <td class="n">{newest ? `${money(newest.total)} ${newest.currency}, version ${newest.version}` : <span class="quiet">none</span>}</td>
              </tr>
            );
          })}</tbody></table>
      </div>
    </section>
  );
}
