import { useEffect, useMemo } from 'preact/hooks';
import { show, views } from '../api';
import { Chart } from '../parts/chart';
import { Figure } from '../parts/figure';
import { Loads } from '../parts/loads';
import { Mark } from '../parts/mark';
import { ProposedOffers } from '../parts/proposed';
import { Uncounted } from '../parts/uncounted';
import type { Market as View, Schedule } from '../types';
import { Available } from './overview';
import { age, clock, day, money, power } from '../words';

export function MarketScreen() {
  useEffect(() => show('market'), []);
  const got = views.value.market as (View & { problem?: string }) | undefined;
  if (!got) return <p class="empty">Waiting …</p>;
  if (got.problem) return <p class="empty">{got.problem}.</p>;
  const view = got as View;
  const hour = view.hours.find((h) => h.start_ns <= view.now_ns && view.now_ns < h.end_ns);
  const gap = hour?.imbalance_w ?? null;
  const gate = view.gate_ns === null ? null : (view.gate_ns - view.now_ns) / 1e9;
  return (
    <div class="screen">
      <h1 class="hidden">Market desk</h1>
      <div class="figures">
        <Figure label="Gate closes" value={gate === null ? 'no gate known' : gate <= 0 ? 'closed' : `in ${age(gate)}`} note={view.gate_ns === null ? '' : `day-ahead, ${day(view.gate_ns)} ${clock(view.gate_ns, false)}`} />
        <Figure label="This hour awarded" value={hour?.awarded_w == null ? 'nothing' : power(hour.awarded_w)} note={hour?.awarded_w == null ? 'no award' : hour.price_per_mwh == null ? 'its price is not known' : `at ${money(hour.price_per_mwh)} $/MWh`} />
        <Figure label="Imbalance this hour" value={<>{gap !== null && hour && gap * Math.sign(hour.instructed_w ?? 1) < -0.1 * Math.abs(hour.instructed_w ?? 0) && <Mark priority={2} />} {power(gap)}</>} note={gap === null ? 'no interval of it was instructed' : 'mean delivered less instructed'} />
        <Available view={view} />
        {view.schedule && <Scheduled schedule={view.schedule} now={view.now_ns} />}
        <Figure label="Market link" value={view.is_live ? 'live' : <><Mark priority={2} /> down</>} note={`last batch ${view.last_batch}`} />
        <Figure label="Declined" value={view.refusals.length} note="instructions, lately" />
      </div>
      <section class="panel">
        <h2>Hour by hour <small>{view.pool}</small></h2>
        <Hours view={view} />
      </section>
      <Loads />
      <ProposedOffers pool={view.pool} />
      <section class="panel">
        <h2>Forecast, offer, award, instruction, delivery, imbalance, baseline, telemetry <small>hours with an offer, and those around now; means</small></h2>
        <div class="scroll tall" tabIndex={0} role="region" aria-label="Market hours">
          <table>
            <thead><tr><th>Hour</th><th class="n">Forecast $/MWh</th><th class="n">Offered</th><th class="n">up to $/MWh</th><th class="n">Awarded</th><th class="n">at $/MWh</th><th class="n">Instructed</th><th class="n">Delivered</th><th class="n">Imbalance</th><th class="n" title="What the devices would do uncalled: mean of the hour">Baseline</th><th class="n" title="Measured power of the pool: mean of the hour">Telemetry</th></tr></thead>
            <tbody>{view.hours.filter((h) => h.offered_w !== null || h.awarded_w !== null || Math.abs(h.start_ns - view.now_ns) < 4 * 3600e9).map((h) => (
              <tr key={h.start_ns} class={h === hour ? 'on' : ''}><td>{day(h.start_ns)} {clock(h.start_ns, false)}</td><td class="n">{cell(h.forecast_per_mwh, money)}</td><td class="n">{cell(h.offered_w, power)}</td><td class="n">{cell(h.offer_price_per_mwh, money)}</td>
                <td class="n">{cell(h.awarded_w, power)}</td><td class="n" title={h.disputed.join('; ')}>{h.disputed.length > 0 && <Mark priority={2} />} {cell(h.price_per_mwh, money)}</td><td class="n">{cell(h.instructed_w, power)}</td><td class="n">{cell(h.delivered_w, power)}<Uncounted spans={h.uncounted} /></td><td class="n">{cell(h.imbalance_w, power)}</td><td class="n">{cell(h.baseline_w, power)}</td><td class="n" title={h.left_out}>{h.left_out && <Mark priority={3} />} {cell(h.telemetry_w, power)}</td></tr>
            ))}</tbody>
          </table>
        </div>
        {view.hours.flatMap((h) => h.disputed).map((text) => <p class="pad" key={text}><Mark priority={2} /> Price disputed: {text}</p>)}
        {view.hours.filter((h) => h.left_out).map((h) => <p class="pad" key={h.start_ns}><Mark priority={3} /> Telemetry and baseline from {clock(h.start_ns, false)}: {h.left_out}</p>)}
        {view.refusals.map((text) => <p class="pad" key={text}><Mark priority={3} /> {text}</p>)}
      </section>
    </div>
  );
}

/** The schedule that awards are given by: what is proven of it, and where what is awarded can't be had. */
function Scheduled({ schedule, now }: { schedule: Schedule; now: number }) {
  const step = schedule.steps.find((s) => s.start_ns <= now && now < s.end_ns) ?? schedule.steps[0];
  const short = schedule.steps.filter((s) => s.lacks_w > 0.001 * s.award_w + 1_000);
  const worst = Math.max(0, ...short.map((s) => s.lacks_w));
  const gap = schedule.gap_frac * 100;
  return (
    <Figure
      label="Award schedule"
      value={<>{short.length > 0 && <Mark priority={2} />} gap {gap < 0.001 ? '< 0.001' : gap.toPrecision(2)} %</>}
      note={<>
        {schedule.devices.toLocaleString('en')} devices at {clock(schedule.made_ns, false)}; the next MWh {money(step.price_per_mwh)} $
        {short.length > 0 && <>; lacks up to {power(worst)} from {clock(short[0].start_ns, false)} to {clock(short[short.length - 1].end_ns, false)}</>}
      </>}
      title={`It costs ${money(schedule.cost)} $ by merit prices; no schedule of these devices costs less than ${money(schedule.bound)} $`}
    />
  );
}

function cell(value: number | null, say: (v: number) => string) {
  return value === null ? <span class="quiet">–</span> : say(value);
}

function Hours({ view }: { view: View }) {
  const data = useMemo(() => {
    const at: number[] = [];
    const pick = (key: 'awarded_w' | 'instructed_w' | 'delivered_w' | 'baseline_w' | 'telemetry_w'): (number | null)[] => view.hours.flatMap((h) => [h[key] === null ? null : h[key]! / 1e3, h[key] === null ? null : h[key]! / 1e3]);
    view.hours.forEach((h) => at.push(h.start_ns / 1e9, h.end_ns / 1e9 - 1));
    return { at, powers: [
      { label: 'awarded', values: pick('awarded_w'), colour: '--rule', width: 7 }, { label: 'instructed', values: pick('instructed_w'), colour: '--entered', dash: [6, 3], width: 2 },
      { label: 'delivered', values: pick('delivered_w'), colour: '--ink', width: 1.8 },
      { label: 'telemetry', values: pick('telemetry_w'), colour: '--quiet', width: 1.2 }, { label: 'baseline', values: pick('baseline_w'), colour: '--quiet', dash: [2, 3], width: 1.2 },
    ], prices: [
      { label: 'cleared price', values: view.hours.flatMap((h) => [h.price_per_mwh, h.price_per_mwh]), colour: '--ink', width: 1.5 },
      { label: 'forecast price', values: view.hours.flatMap((h) => [h.forecast_per_mwh, h.forecast_per_mwh]), colour: '--quiet', dash: [2, 3], width: 1.2 },
    ] };
  }, [view.revision, view.hours]);
  if (!view.hours.length) return <p class="empty">No market hours yet.</p>;
  return (
    <>
      <Chart at={data.at} lines={data.powers} unit="kW" height={230} now={view.now_ns / 1e9} label="Market hours: power" />
      <Chart at={data.at} lines={data.prices} unit="$/MWh" height={110} now={view.now_ns / 1e9} label="Market hours: price" />
    </>
  );
}
