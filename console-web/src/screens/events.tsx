import { useEffect, useState } from 'preact/hooks';
import { may, me, post, Problem, shell, show, toast, views } from '../api';
import type { Preview, ProgramEvent } from '../types';
import { clock, day, energy, power, spaced } from '../words';

const says = (e: unknown): string => (e instanceof Problem ? e.says() : String(e));

export function EventsScreen() {
  useEffect(() => show('events'), []);
  const events = views.value.events as ProgramEvent[] | undefined;
  const [problem, setProblem] = useState('');
  const step = (event: ProgramEvent, to: string) => post(`/events/${encodeURIComponent(event.id)}/${to}`).then(() => { setProblem(''); toast.value = `${event.program}: ${to} done and recorded.`; }, (e) => setProblem(says(e)));
  return (
    <div class="screen">
      <h1 class="hidden">Event desk</h1>
      {may('compose_event') && <Compose />}
      <section class="panel">
        <h2>Events <small>New, Submitted, Approved or Denied by a second person, Scheduled, In Progress, Completed or Canceled</small></h2>
        {problem && <p class="problem pad" role="alert">{problem}</p>}
        {!events ? <p class="empty">Waiting …</p> : !events.length ? <p class="quiet pad">No events yet. Compose one above.</p> : (
          <div class="scroll" tabIndex={0} role="region" aria-label="Events">
            <table><thead><tr><th>Program</th><th>Group</th><th>When</th><th class="n">Asks</th><th>State</th><th>Composed by</th><th>Approved by</th><th>Why</th><th>Steps</th></tr></thead>
              <tbody>{events.map((event) => (
                <tr key={event.id} class={event.state === 'In Progress' ? 'on' : ''}>
                  <td>{event.program}</td><td><a href={event.group.startsWith('feeder') ? `/feeder/${event.group}` : `/resource/${event.group}`}>{event.group}</a></td>
                  <td>{day(event.start_ns)} {clock(event.start_ns, false)} to {clock(event.end_ns, false)}</td><td class="n">{power(event.power_w)}</td>
                  <td><b>{event.state}</b></td><td>{event.composed_by}</td><td>{event.approved_by || '–'}</td><td>{event.why}</td>
                  <td class="acts">
                    {event.state === 'New' && may('compose_event') && <button onClick={() => step(event, 'submit')}>Submit</button>}
                    {event.state === 'Submitted' && may('decide_event') && (event.composed_by === me.value?.name ? <span class="quiet">a second person decides</span> : <><button onClick={() => step(event, 'approve')}>Approve</button><button onClick={() => step(event, 'deny')}>Deny</button></>)}
                    {event.next.includes('Canceled') && may('cancel_event') && <button onClick={() => step(event, 'cancel')}>Cancel</button>}
                  </td>
                </tr>
              ))}</tbody></table>
          </div>
        )}
      </section>
    </div>
  );
}

function Compose() {
  const [form, setForm] = useState({ program: 'Peak relief', group: 'pool-1', kw: '500', inMin: '15', forMin: '60', why: '' });
  const [preview, setPreview] = useState<Preview | null>(null);
  const [problem, setProblem] = useState('');
  const set = (key: keyof typeof form) => (e: { currentTarget: HTMLInputElement }) => { setForm({ ...form, [key]: e.currentTarget.value }); setPreview(null); };
  const wish = () => {
    const now = shell.value?.now_ns ?? 0;
    const start = now + Number(form.inMin) * 60e9;
    return { program: form.program, group: form.group, start_ns: Math.round(start), end_ns: Math.round(start + Number(form.forMin) * 60e9), power_w: Number(form.kw) * 1e3, why: form.why };
  };
  const look = (e: Event) => { e.preventDefault(); post<Preview>('/events/preview', wish()).then((got) => { setPreview(got); setProblem(''); }, (e) => { setPreview(null); setProblem(says(e)); }); };
  const compose = () => post<ProgramEvent>('/events', wish()).then((event) => post(`/events/${encodeURIComponent(event.id)}/submit`)).then(() => { setPreview(null); toast.value = 'Submitted. A second person must approve it.'; }, (e) => setProblem(says(e)));
  return (
    <section class="panel">
      <h2>Compose <small>choose, preview, then submit; nothing happens before a second person approves</small></h2>
      <form class="compose pad" onSubmit={look}>
        <label>Program<input required maxLength={80} value={form.program} onInput={set('program')} /></label>
        <label>Group<input required value={form.group} onInput={set('group')} /></label>
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
              <dt>Asked</dt><dd>{power(preview.asked_w)}</dd>
              <dt>Can give now</dt><dd>{power(preview.can_give_w)}</dd>
              <dt>Expected at start</dt><dd><b>{power(preview.expected_w)}</b>{Math.abs(preview.expected_w) < 0.95 * Math.abs(preview.asked_w) && <span class="bad"> less than asked</span>}</dd>
              <dt>Energy</dt><dd>{energy(preview.energy_wh)}</dd>
              <dt>Left out</dt><dd>{preview.opted_out} opted out, {preview.unreachable} out of reach</dd>
              <dt>Rebound</dt><dd>{preview.rebound_says}</dd>
              <dt>Of which</dt><dd>{Object.entries(preview.by_kind).map(([kind, n]) => <span class="chip" key={kind}>{spaced(kind)} {n.toLocaleString('en-US')}</span>)}</dd>
            </dl>
            <Minutes preview={preview} />
          </div>
          <p class="pad"><button onClick={compose}>Submit for approval</button> <span class="quiet">calls {preview.devices.toLocaleString('en-US')} devices for {power(preview.expected_w)}</span></p>
        </div>
      )}
    </section>
  );
}

function Minutes({ preview }: { preview: Preview }) {
  const most = Math.max(...preview.minutes.map(Math.abs), Math.abs(preview.asked_w), 1);
  const n = preview.minutes.length;
  return (
    <figure class="pad" aria-label="Expected power through the event">
      <figcaption class="quiet">Expected power through the event; the line is what is asked</figcaption>
      <svg viewBox="0 0 400 120" class="minutes" role="img" aria-label={`from ${power(preview.minutes[0])} to ${power(preview.minutes[n - 1])}`}>
        {preview.minutes.map((w, k) => <rect key={k} class="fillbar" x={(k * 400) / n} y={110 - (Math.abs(w) / most) * 100} width={Math.max(400 / n - 1, 0.5)} height={(Math.abs(w) / most) * 100} />)}
        <path class="askline" d={`M0 ${110 - (Math.abs(preview.asked_w) / most) * 100}H400`} />
      </svg>
    </figure>
  );
}
