import { useEffect, useRef, useState } from 'preact/hooks';
import { get, may, me, post, Problem, shell, show, toast, views } from '../api';
import type { Preview, ProgramEvent } from '../types';
import { Mark } from '../parts/mark';
import { Uncounted } from '../parts/uncounted';
import { tellSubmitted, tellWaiting, WaitingList } from '../parts/second';
import type { Overview } from '../types';
import { bound, clock, day, energy, money, power, spaced } from '../words';

const says = (e: unknown): string => (e instanceof Problem ? e.says() : String(e));

export function EventsScreen() {
  useEffect(() => show('events', 'overview', ...(may('confirm') ? ['waiting'] : [])), []);
  const events = views.value.events as ProgramEvent[] | undefined;
  const [problem, setProblem] = useState('');
  const step = (event: ProgramEvent, to: string) => post<ProgramEvent>(`/events/${encodeURIComponent(event.id)}/${to}`).then((now) => { setProblem(''); toast.value = `${event.program}: ${to} done and recorded${now.unmet && `; ${now.unmet}`}${now.equal && `; ${now.equal}`}.`; }, (e) => setProblem(says(e)));
  return (
    <div class="screen">
      <h1 class="hidden">Event desk</h1>
      <WaitingList />
      {may('compose_event') && <Compose />}
      <section class="panel">
        <h2>Events <small>New, Submitted, Approved or Denied by a second person, Scheduled, In Progress, Completed or Canceled; Lapsed: its time was over before it began</small></h2>
        {problem && <p class="problem pad" role="alert">{problem}</p>}
        {!events ? <p class="empty">Waiting …</p> : !events.length ? <p class="quiet pad">No events yet. Compose one above.</p> : (
          <div class="scroll" tabIndex={0} role="region" aria-label="Events">
            <table><thead><tr><th>Program</th><th>Group</th><th>When</th><th class="n">Asks</th><th class="n" title="In the reservation book: nobody can be promised it a second time">Booked</th><th class="n" title="Energy above their base, of what was asked since it began">Delivered of asked</th><th title="What lacked of the asked in each five minutes, by cause; what others gave beyond it stands apart: asked less delivered is all that lacks less what is over">Lacks</th><th class="n" title="Devices that it calls now">Devices</th><th>State</th><th>Steps</th><th title="Who composed it, and who approved it">By</th></tr></thead>
              <tbody>{events.map((event) => (
                <tr key={event.id} class={event.state === 'In Progress' ? 'on' : ''}>
                  <td>{event.program}{event.why && <div class="quiet small">{event.why}</div>}</td><td><a href={event.group.startsWith('feeder') ? `/feeder/${event.group}` : `/resource/${event.group}`}>{event.group}</a></td>
                  <td><span class="keep">{day(event.start_ns)}</span> <span class="keep">{clock(event.start_ns, false)} to {clock(event.end_ns, false)}</span></td><td class="n">{power(event.power_w)}{event.unmet && <div class="small bad"><Mark priority={2} /> {event.unmet}</div>}{event.equal && <div class="small entered">{event.equal}</div>}</td>
                  <td class="n">{event.reserved_w ? <>{power(event.reserved_w)} <span class="quiet">{energy(event.reserved_wh)}</span></> : <span class="quiet">{['Canceled', 'Lapsed'].includes(event.state) ? 'given back' : 'nothing'}</span>}</td>
                  <td class="n"><Course event={event} /></td>
                  <td><Lacks event={event} /></td>
                  <td class="n">{event.called ? <>{event.called.toLocaleString('en-US')}{event.opted_out > 0 && <span class="entered"> {event.opted_out.toLocaleString('en-US')} out</span>}</> : <span class="quiet">–</span>}</td>
                  <td><b>{event.state}</b></td>
                  <td class="acts">
                    {event.state === 'New' && may('compose_event') && <button onClick={() => step(event, 'submit')}>Submit</button>}
                    {event.state === 'Submitted' && may('decide_event') && (event.composed_by === me.value?.name ? <span class="quiet">a second person decides</span> : <><button onClick={() => step(event, 'approve')}>Approve</button><button onClick={() => step(event, 'deny')}>Deny</button></>)}
                    {['Scheduled', 'In Progress'].includes(event.state) && may('decide_event') && <Extend event={event} onProblem={setProblem} />}
                    {event.next.includes('Canceled') && may('cancel_event') && <Cancel event={event} onCancel={() => step(event, 'cancel')} />}
                  </td>
                  <td>{event.composed_by}{event.approved_by && <div class="quiet small">approved by {event.approved_by}</div>}</td>
                </tr>
              ))}</tbody></table>
          </div>
        )}
      </section>
    </div>
  );
}

/** What its devices gave above their base, of what was asked so far. */
function Course({ event }: { event: ProgramEvent }) {
  if (!event.counted_to_ns) return <><span class="quiet">{event.state === 'In Progress' ? 'counted every 5 min' : '–'}</span><Uncounted spans={event.uncounted} /></>;
  const share = event.delivered_wh / event.asked_wh;
  return <>{share < 0.9 && <Mark priority={2} />} <span title={`Counted to ${clock(event.counted_to_ns)}`}>{energy(event.delivered_wh)} <span class="quiet">of {energy(event.asked_wh)}, {Math.round(share * 100)} %</span></span><Uncounted spans={event.uncounted} /></>;
}

/** What lacks of the asked, the largest cause first, and what was given beyond it in other intervals: so the sum closes. */
function Lacks({ event }: { event: ProgramEvent }) {
  const causes = Object.entries(event.lacks_wh).filter(([, wh]) => Math.abs(wh) >= 50).sort((a, b) => b[1] - a[1]);
  const over = event.over_wh >= 50 && <span class="chip" title="Given beyond what was asked, in intervals that had enough">over {energy(event.over_wh)}</span>;
  if (!causes.length) return <><span class="quiet">{event.asked_wh ? 'nothing' : '–'}</span>{over && <> {over}</>}</>;
  return <>{causes.map(([cause, wh]) => <span class="chip" key={cause}>{spaced(cause)} {energy(wh)}</span>)}{over}</>;
}

/** One click ends what nobody feels yet; a running event is asked about once, as its devices all move when it ends. */
function Cancel({ event, onCancel }: { event: ProgramEvent; onCancel: () => void }) {
  const [asked, setAsked] = useState(false);
  const keep = useRef<HTMLButtonElement>(null);
  useEffect(() => { if (asked) keep.current?.focus(); }, [asked]);
  if (event.state !== 'In Progress') return <button onClick={onCancel}>Cancel</button>;
  if (!asked) return <button onClick={() => setAsked(true)}>Cancel {'\u2026'}</button>;
  return (
    <span class="acts" role="group" aria-label={`End ${event.program} now?`}>
      <button onClick={() => { setAsked(false); onCancel(); }}>End it now: {event.called.toLocaleString('en-US')} devices go back</button>
      <button ref={keep} onClick={() => setAsked(false)}>Let it run</button>
    </span>
  );
}

function Extend({ event, onProblem }: { event: ProgramEvent; onProblem: (said: string) => void }) {
  const [minutes, setMinutes] = useState('');
  const ask = (e: Event) => {
    e.preventDefault();
    post<{ id: string }>(`/events/${encodeURIComponent(event.id)}/extend`, { minutes: Number(minutes) }).then((waits) => { setMinutes(''); onProblem(''); tellWaiting(waits.id); }, (e) => onProblem(says(e)));
  };
  return (
    <form class="inline" onSubmit={ask}>
      <input aria-label={`Minutes more for ${event.program}`} inputMode="numeric" size={3} value={minutes} onInput={(e) => setMinutes(e.currentTarget.value)} />
      <button disabled={!/^\d+$/.test(minutes)}>min longer</button>
    </form>
  );
}

const FIGURES = [['kw', 'Power, kW into the grid'], ['inMin', 'Starts in, minutes'], ['forMin', 'Lasts, minutes']] as const;

/** Whom enrolments or the program's kinds leave out, and why: the first twenty. */
function leftOut(preview: Preview) {
  const told = Object.entries(preview.left_out);
  return told.slice(0, 20).map(([name, why]) => `${name}: ${why}`).join('\n') + (told.length > 20 ? `\nand ${told.length - 20} more` : '');
}

function Compose() {
  const [form, setForm] = useState({ program: '', group: 'pool-1', kw: '500', inMin: '15', forMin: '60', why: '' });
  const [preview, setPreview] = useState<Preview | null>(null);
  const [problem, setProblem] = useState('');
  const [programs, setPrograms] = useState<{ program: string }[]>([]);
  useEffect(() => { get<{ program: string }[]>('/programs').then((known) => { setPrograms(known); setForm((was) => (was.program ? was : { ...was, program: known[0]?.program ?? '' })); }, (e) => setProblem(says(e))); }, []);
  const set = (key: keyof typeof form) => (e: { currentTarget: HTMLInputElement | HTMLSelectElement }) => { setForm({ ...form, [key]: e.currentTarget.value }); setPreview(null); setProblem(''); };
  const wish = () => {
    const now = shell.value?.now_ns ?? 0;
    const start = now + Number(form.inMin) * 60e9;
    return { program: form.program, group: form.group, start_ns: Math.round(start), end_ns: Math.round(start + Number(form.forMin) * 60e9), power_w: Number(form.kw) * 1e3, why: form.why };
  };
  const look = (e: Event) => {
    e.preventDefault();
    const wrong = FIGURES.filter(([key]) => !form[key].trim() || !Number.isFinite(Number(form[key])));
    if (wrong.length) { setPreview(null); setProblem(wrong.map(([key, label]) => `${label}: "${form[key]}" is no number; give one such as ${key === 'kw' ? '500' : '15'}`).join('. ')); return; }
    post<Preview>('/events/preview', wish()).then((got) => { setPreview(got); setProblem(''); }, (e) => { setPreview(null); setProblem(says(e)); });
  };
  const compose = () => post<ProgramEvent>('/events', wish()).then((event) => post<ProgramEvent>(`/events/${encodeURIComponent(event.id)}/submit`)).then((event) => { setPreview(null); tellSubmitted(event.id); }, (e) => setProblem(says(e)));
  return (
    <section class="panel">
      <h2>Compose <small>choose, preview, then submit; nothing happens before a second person approves</small></h2>
      <form class="compose pad" onSubmit={look}>
        <label>Program<select required value={form.program} onChange={set('program')}>{programs.map(({ program: name }) => <option value={name} key={name}>{name}</option>)}</select></label>
        <label>Group<input required list="groups" value={form.group} onInput={set('group')} /></label>
        <datalist id="groups">{groups().map((name) => <option value={name} key={name} />)}</datalist>
        <label>Power, kW into the grid<input required inputMode="decimal" value={form.kw} onInput={set('kw')} /></label>
        <label>Starts in, minutes<input required inputMode="numeric" value={form.inMin} onInput={set('inMin')} /></label>
        <label>Lasts, minutes<input required inputMode="numeric" value={form.forMin} onInput={set('forMin')} /></label>
        <label>Why<input value={form.why} onInput={set('why')} /></label>
        <button>Preview</button>
      </form>
      {problem && <p class="problem pad" role="alert">{problem}</p>}
      {preview && (
        <div class="preview">
          <div class="two">
            <dl>
              <dt>Devices called</dt><dd><b>{preview.devices.toLocaleString('en-US')}</b></dd>
              <dt>Asked</dt><dd>{power(preview.asked_w)} <span class="quiet">{preview.asks}</span></dd>
              <dt>Can give now</dt><dd>{power(preview.can_give_w)}</dd>
              <dt>Expected at start</dt><dd><b>{power(preview.expected_w)}</b>{Math.abs(preview.expected_w) < 0.95 * Math.abs(preview.asked_w) && <span class="bad">, which is less than asked</span>}</dd>
              {(preview.owed_w !== 0 || preview.free_w !== 0) && <><dt title="What its pools have promised in their fullest quarter hour of the event">Promised already</dt><dd>{power(preview.owed_w)}</dd>
              <dt title={preview.free_says}>Promised to nobody</dt><dd><b>{power(preview.free_w)}</b> <span class="quiet">{energy(preview.free_wh)}{preview.free_w > Math.abs(preview.can_give_w) && ', by ratings: devices can give less now'}</span>{Math.abs(preview.asked_w) > preview.free_w + 1000 && <span class="bad"> <Mark priority={2} /> {power(Math.abs(preview.asked_w) - preview.free_w)} of what is asked is promised already</span>}</dd></>}
              <dt>Energy</dt><dd>{energy(preview.energy_wh)}</dd>
              <dt title="What the called devices ask, by their merit order">Cost</dt><dd>{money(preview.cost)} $ <span class="quiet">{preview.energy_wh ? `${money(preview.cost / Math.abs(preview.energy_wh / 1e6))} $/MWh` : ''}</span></dd>
              <dt>Left out</dt><dd>{preview.opted_out.toLocaleString('en-US')} opted out, {preview.unreachable.toLocaleString('en-US')} out of reach{preview.unagreed > 0 && <span class="entered" title={preview.unagreed_why}>, {preview.unagreed.toLocaleString('en-US')} kept out by their contracts</span>}{preview.unenrolled + preview.unfit > 0 && <span class="entered" title={leftOut(preview)}>, {(preview.unenrolled + preview.unfit).toLocaleString('en-US')} not enrolled in the program or not of its kinds</span>}{preview.held_out > 0 && <span class="entered">, {preview.held_out.toLocaleString('en-US')} on a Disabled feeder</span>}{preview.limited > 0 && <span class="entered" title="Their group would pass its limit by itself: what one gives up is room for its neighbours">, {preview.limited.toLocaleString('en-US')} under a limit that takes it</span>}{preview.scheduled > 0 && <span class="entered">, {preview.scheduled.toLocaleString('en-US')} that fill up for awards meanwhile</span>}</dd>
              <dt>Rebound</dt><dd>{preview.rebound_says}</dd>
              <dt>Of which</dt><dd>{Object.entries(preview.by_kind).map(([kind, n]) => <span class="chip" key={kind}>{spaced(kind)} {n.toLocaleString('en-US')}</span>)}</dd>
            </dl>
            <Minutes preview={preview} />
          </div>
          <Effects preview={preview} />
          {preview.unknown_program && <p class="pad entered" role="status">{preview.unknown_program[0].toUpperCase() + preview.unknown_program.slice(1)}.</p>}
          {preview.awards_say && <p class="pad entered" role="status">{preview.awards_say[0].toUpperCase() + preview.awards_say.slice(1)}.</p>}
          {preview.equal && <p class="pad entered" role="status">{preview.equal[0].toUpperCase() + preview.equal.slice(1)}.</p>}
          {preview.unmet && <p class="problem pad" role="alert">{preview.unmet[0].toUpperCase() + preview.unmet.slice(1)}.</p>}
          {preview.warning && <p class="problem pad" role="alert">It would get nothing: {preview.warning}. Devices may be free again when it begins.</p>}
          <p class="pad"><button onClick={compose}>{preview.warning || preview.unmet ? 'Submit all the same' : 'Submit for approval'}</button> <span class="quiet">calls {preview.devices.toLocaleString('en-US')} devices for {power(preview.expected_w)}</span></p>
        </div>
      )}
    </section>
  );
}

const groups = (): string[] => {
  const view = views.value.overview as Overview | undefined;
  return view ? [view.pool, ...view.feeders.map((row) => row.feeder)].filter(Boolean) : [];
};

function Effects({ preview }: { preview: Preview }) {
  if (!preview.effects.length) return <p class="quiet pad">It touches no feeder.</p>;
  const percent = (frac: number | null) => (frac === null ? 'no model' : `${Math.round(frac * 100)} %`);
  return (
    <>
      <h2>What it does to the feeders <small>power flow with the event in it, worst first</small></h2>
      <div class="scroll short" tabIndex={0} role="region" aria-label="What it does to the feeders">
        <table><thead><tr><th>Feeder</th><th class="n">Devices</th><th class="n">DER power now</th><th class="n">then</th><th class="n">Limit</th><th class="n">Loading now</th><th class="n">then</th><th class="n">Lowest voltage then</th><th class="n">Limits broken now</th><th class="n">then</th></tr></thead>
          <tbody>{preview.effects.map((e) => (
            <tr key={e.feeder}>
              <td><a href={`/feeder/${e.feeder}`}>{e.feeder}</a></td><td class="n">{e.devices.toLocaleString('en-US')}</td><td class="n">{power(e.power_w)}</td><td class="n">{power(e.after_w)}</td>
              <td class="n">{e.limit_high_w === null ? <span class="quiet">none</span> : <>{e.is_over && <Mark priority={2} />} {`\u2264 ${bound(e.limit_high_w)}`}</>}</td>
              <td class="n">{percent(e.loading_frac)}</td><td class="n">{percent(e.loading_after_frac)}</td><td class="n">{e.min_after_pu === null ? '' : `${e.min_after_pu.toFixed(3)} pu`}</td>
              <td class="n">{e.broken}</td><td class="n">{e.broken_after > e.broken && <Mark priority={1} />} {e.broken_after}</td>
            </tr>
          ))}</tbody></table>
      </div>
    </>
  );
}

const REBOUND_MINUTES = 60;

/** Expected power through the event, and what may come back in the hour after it: at most, falling as release is spread. */
function Minutes({ preview }: { preview: Preview }) {
  const [table, setTable] = useState(false);
  const span = (preview.energy_wh && preview.expected_w ? Math.max(preview.minutes.length, 1) : preview.minutes.length);
  const after = preview.rebound_w ? Array.from({ length: 12 }, (_, k) => preview.rebound_w * (1 - k / 12)) : [];
  const all = [...preview.minutes, ...after];
  const most = Math.max(...all.map(Math.abs), Math.abs(preview.asked_w), 1);
  const n = all.length, wide = 400 / n;
  const up = Math.max(...all, preview.asked_w, 0) / most, down = -Math.min(...all, preview.asked_w, 0) / most;
  const scale = 104 / Math.max(up + down, 1e-9), zero = 8 + up * scale;
  const bar = (w: number) => ({ y: w >= 0 ? zero - (w / most) * scale : zero, height: Math.abs(w / most) * scale });
  const at = (k: number) => (k < preview.minutes.length ? `step ${k + 1} of ${span}` : `${Math.round(((k - preview.minutes.length) * REBOUND_MINUTES) / 12)} min after`);
  return (
    <figure class="pad" aria-label="Expected power through the event and after it">
      <figcaption class="quiet legend">Expected power through the event; dashed is asked{after.length ? '; pale is the most that comes back in the hour after' : ''}
        <button class="plain" type="button" aria-pressed={table} onClick={() => setTable(!table)}>{table ? 'As a picture' : 'As a table'}</button></figcaption>
      {table ? (
        <div class="scroll short" tabIndex={0} role="region" aria-label="Expected power"><table><thead><tr><th>When</th><th class="n">Power</th></tr></thead>
          <tbody>{all.map((w, k) => <tr key={k}><td>{at(k)}</td><td class="n">{power(w)}</td></tr>)}</tbody></table></div>
      ) : (
        <svg viewBox="0 0 400 120" class="minutes" role="img" aria-label={`from ${power(preview.minutes[0])} to ${power(preview.minutes[preview.minutes.length - 1])}, then up to ${power(preview.rebound_w)}`}>
          {all.map((w, k) => <rect key={k} class={k < preview.minutes.length ? 'fillbar' : 'afterbar'} x={k * wide} width={Math.max(wide - 1, 0.5)} {...bar(w)}><title>{`${at(k)}: ${power(w)}`}</title></rect>)}
          <path class="zeroline" d={`M0 ${zero}H400`} />
          <path class="askline" d={`M0 ${bar(preview.asked_w).y + (preview.asked_w < 0 ? bar(preview.asked_w).height : 0)}H${preview.minutes.length * wide}`} />
        </svg>
      )}
    </figure>
  );
}
