// The owner's page, for a phone first: what happens now, why, and one tap to leave or come back.
import { useEffect, useState } from 'preact/hooks';
import { me, post, Problem, show, toast, views } from '../api';
import { Contracts } from '../parts/contracts';
import { Bar } from '../parts/figure';
import { useView } from '../parts/load';
import type { OwnerMoney, Resource } from '../types';
import { age, bound, clock, day, energy, money, power, spaced } from '../words';

export function OwnerScreen() {
  const mine = me.value?.scope ?? [];
  useEffect(() => show(...mine.slice(0, 14).map((id) => `resource:${id}`)), [mine.join()]);
  return (
    <div class="owner">
      <h1>{mine.length === 1 ? 'Your device' : `Your ${mine.length} devices`}</h1>
      {!mine.length && <p class="quiet">No device is yours yet. Ask {me.value?.utility || 'your utility'} for a link that names them.</p>}
      {sitesOf(mine).map(([site, ids]) => <Site site={site} ids={ids} key={site} />)}
      {mine.slice(0, 14).map((id) => <Device id={id} key={id} />)}
    </div>
  );
}

const seen = (id: string) => views.value[`resource:${id}`] as (Resource & { problem?: string }) | undefined;

/** Return the sites behind which several of these devices stand, each with them. */
function sitesOf(mine: string[]): [string, string[]][] {
  const found = new Map<string, string[]>();
  for (const id of mine.slice(0, 14)) {
    const site = seen(id)?.ancestors?.find((above) => above.kind === 'site')?.id;
    if (site) found.set(site, [...(found.get(site) ?? []), id]);
  }
  return [...found].filter(([, ids]) => ids.length > 1);
}

/** All devices behind one site, out and back in by one tap: whoever is out by himself stays so. */
function Site({ site, ids }: { site: string; ids: string[] }) {
  const [asks, setAsks] = useState(false);
  const [problem, setProblem] = useState('');
  const out = ids.some((id) => seen(id)?.claims?.some((claim) => claim.source === `owner:${site}`));
  const act = (to: string) => post(`/resources/${encodeURIComponent(site)}/${to}`).then(
    () => { setAsks(false); setProblem(''); toast.value = SAID[to] ?? 'Done.'; },
    (e) => setProblem(e instanceof Problem ? e.says() : String(e)),
  );
  return (
    <section class="panel" aria-label={`All of ${site}`}>
      <h2>All of {site} <small>{ids.length} devices</small></h2>
      <div class="pad">
        {problem && <p class="problem" role="alert">{problem}</p>}
        {out ? <><p>You have opted out of all of it.</p><button class="wide" onClick={() => act('opt-in')}>Take part again with all of it</button></>
          : !asks ? <button class="wide" onClick={() => setAsks(true)}>Opt out of all of it</button>
            : <div class="asks"><p>All devices of {site} are out at once, until you come back. Safety limits of the grid still hold.</p><button class="wide" onClick={() => act('opt-out')}>Yes, all of it</button><button class="wide" onClick={() => setAsks(false)}>Stay in</button></div>}
      </div>
    </section>
  );
}

/** Return in everyday words what a device does now. */
function doing(view: Resource): string {
  const w = view.scada.power_w;
  if (w === null) return 'We do not hear from it';
  if (Math.abs(w) < 50) return 'Idle';
  if (view.energy_wh > 0) return w > 0 ? `Giving back ${power(w)}` : `Charging with ${power(-w)}`;
  return w > 0 ? `Giving ${power(w)}` : `Using ${power(-w)}`;
}

function Device({ id }: { id: string }) {
  const got = views.value[`resource:${id}`] as (Resource & { problem?: string }) | undefined;
  const [asks, setAsks] = useState(false);
  const [problem, setProblem] = useState('');
  if (!got) return <section class="panel pad">Asking for {id} \u2026</section>;
  if (got.problem) return <section class="panel pad">{id}: {got.problem}</section>;
  const out = got.market.opted_out;
  const act = (to: string, body?: unknown) => post(`/resources/${encodeURIComponent(id)}/${to}`, body).then(
    () => { setAsks(false); setProblem(''); toast.value = SAID[to] ?? 'Done.'; },
    (e) => setProblem(e instanceof Problem ? e.says() : String(e)),
  );
  const charge = got.readings.find((r) => r.point === 'soc_frac')?.value ?? null;
  return (
    <section class="panel" aria-label={id}>
      <h2>{spaced(got.kind)} <small>{id}</small></h2>
      <div class="pad">
        <p class="big">{doing(got)}</p>
        <Bar value={got.scada.power_w} target={null} low={-Math.max(got.max_absorb_w, 1)} high={Math.max(got.max_inject_w, 1)} label={doing(got)} />
        <p class="quiet">heard {got.scada.age_s === null ? 'never' : `${age(got.scada.age_s)} ago`}{charge !== null && ` \u00b7 ${Math.round(charge * 100)} % full`}{got.energy_wh > 0 && ` of ${energy(got.energy_wh)}`}</p>
        <h3>Why</h3>
        <p>{out ? 'You have opted out: nobody steers it.' : `${got.controls}.`}{!out && got.winner?.end_ns ? ` Until ${clock(got.winner.end_ns, false)}.` : ''}</p>
        {got.claims.length > 0 && (
          <details><summary>Everybody who wants something of it ({got.claims.length})</summary>
            <ul>{got.claims.map((claim) => <li key={claim.id}><b>{claim.level_name}</b>: {claim.outcome}; {claim.why}</li>)}</ul>
          </details>
        )}
        {problem && <p class="problem" role="alert">{problem}</p>}
        <Earned id={id} />
        <Limits view={got} act={act} />
        <Contracts resource={id} />
        {out ? <button class="wide" onClick={() => act('opt-in')}>Take part again</button>
          : !asks ? <button class="wide" onClick={() => setAsks(true)}>Opt out</button>
            : <div class="asks"><p>Out at once, until you come back. Safety limits of the grid still hold.</p><button class="wide" onClick={() => act('opt-out')}>Yes, opt out</button><button class="wide" onClick={() => setAsks(false)}>Stay in</button></div>}
      </div>
    </section>
  );
}

const SAID: Record<string, string> = {
  'opt-out': 'You are out. Nobody steers it until you come back.', 'opt-in': 'Welcome back.',
  'owner-limit': 'Your limit holds from now on.', 'owner-release': 'Your limit is gone.',
};

function Earned({ id }: { id: string }) {
  const { view } = useView<OwnerMoney[]>(`/resources/${encodeURIComponent(id)}/earned`, 60);
  if (!view) return null;
  const total = view.reduce((sum, m) => sum + Number(m.amount), 0);
  return (
    <>
      <h3>Earned</h3>
      {!view.length ? <p>Nothing yet: a day is settled once its meters are in.</p> : (
        <>
          <p class="big">{money(total)} {view[0].currency}</p>
          <ul>{view.slice(0, 7).map((m) => <li key={m.statement}>{day(m.start_ns)}: {money(m.amount)} {m.currency}{m.version > 1 ? `, settled anew (${m.version})` : ''}</li>)}</ul>
        </>
      )}
    </>
  );
}

/** The owner's own limits: what others may make it draw and give at most. They outrank every market and program. */
function Limits({ view, act }: { view: Resource; act: (to: string, body?: unknown) => Promise<void> }) {
  const [draw, setDraw] = useState(''), [give, setGive] = useState('');
  const mine = view.claims.find((claim) => claim.program === 'owner-limit');
  const put = (e: Event) => {
    e.preventDefault();
    void act('owner-limit', {
      low_w: draw === '' ? -view.max_absorb_w : -Math.abs(Number(draw)) * 1e3, high_w: give === '' ? view.max_inject_w : Math.abs(Number(give)) * 1e3,
    });
  };
  return (
    <details open={!!mine}>
      <summary>Your limits{mine ? `: ${bound(mine.low_w)} to ${bound(mine.high_w)}` : ''}</summary>
      <form class="limits" onSubmit={put}>
        {view.max_absorb_w > 0 && <label>It may draw at most, kW<input inputMode="decimal" placeholder={(view.max_absorb_w / 1e3).toFixed(1)} value={draw} onInput={(e) => setDraw(e.currentTarget.value)} /></label>}
        {view.max_inject_w > 0 && <label>It may give at most, kW<input inputMode="decimal" placeholder={(view.max_inject_w / 1e3).toFixed(1)} value={give} onInput={(e) => setGive(e.currentTarget.value)} /></label>}
        <button class="wide" disabled={draw === '' && give === ''}>Set my limits</button>
        {mine && <button type="button" class="wide" onClick={() => { setDraw(''); setGive(''); void act('owner-release'); }}>Take my limits back</button>}
      </form>
    </details>
  );
}
