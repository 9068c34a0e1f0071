// What waits for a second person, and the kill switch.
import { useState } from 'preact/hooks';
import { get, may, me, post, Problem, shell, toast, views } from '../api';
import type { Became, ProgramEvent, Waiting } from '../types';
import { spaced } from '../words';
import { Mark } from './mark';

const WAITS = 'Nothing has happened yet: a second person must confirm it within 10 minutes, on the Alarms screen.';
const LOOKS_MS = 2000;
let looking = 0;

/** Say something that holds until `look` knows more; what is closed, or said since, ends the looking. */
function until(text: string, look: () => Promise<string>): void {
  const mine = ++looking;
  toast.value = text;
  const again = () => setTimeout(() => {
    if (mine !== looking || toast.value !== text) return;
    look().catch((e) => (e instanceof Problem && e.status === 404 ? 'It waits no more: nobody knows here what became of it.' : ''))
      .then((said) => { if (mine !== looking || toast.value !== text) return; if (said) toast.value = said; else again(); });
  }, LOOKS_MS);
  again();
}

const outcome = ({ state, by, says }: Became): string => state === 'waiting' ? '' : state === 'confirmed' ? `It is done: ${by} confirmed it.`
  : state === 'failed' ? `${by} confirmed it, and it was refused: ${says}.` : state === 'refused' ? `It will not happen: ${by === me.value?.name ? 'you' : by} took it back or refused it.` : `Nothing has happened: ${says}.`;

/** Say that an act waits for a second person, until it is known what became of it. */
export const tellWaiting = (id: string): void => until(WAITS, () => get<Became>(`/waiting/${encodeURIComponent(id)}`).then(outcome));

/** Say that an event was submitted, until somebody decides. */
export const tellSubmitted = (id: string): void => until('Submitted. A second person must approve it.', () => get<ProgramEvent[]>('/events').then((events) => {
  const event = events.find((one) => one.id === id);
  return event?.state === 'Submitted' ? '' : `The event is ${event?.state ?? 'gone'}.`;
}));

const says = (e: unknown): string => (e instanceof Problem ? e.says() : String(e));

export function WaitingList() {
  const waits = (views.value.waiting as Waiting[] | undefined) ?? [];
  const [problem, setProblem] = useState('');
  if (!may('confirm') || !waits.length) return null;
  const act = (w: Waiting, to: string, body?: unknown) => post(`/waiting/${encodeURIComponent(w.id)}/${to}`, body)
    .then(() => { setProblem(''); toast.value = to === 'confirm' ? 'Confirmed: it is done, in both names.' : 'It will not happen.'; }, (e) => setProblem(says(e)));
  return (
    <section class="panel">
      <h2>Waiting for a second person <small>{waits.length}; nothing of this has happened yet</small></h2>
      {problem && <p class="problem pad" role="alert">{problem}</p>}
      <div class="scroll" tabIndex={0} role="region" aria-label="Waiting for a second person">
        <table>
          <thead><tr><th>Act</th><th>On</th><th>Asked</th><th>By</th><th>Why two people</th><th class="n">Ends in</th><th>Decide</th></tr></thead>
          <tbody>{waits.map((w) => (
            <tr key={w.id}>
              <td><b>{w.action === 'kill' ? 'release the kill switch' : spaced(w.action)}</b></td><td>{w.subject || 'the whole fleet'}</td><td>{Object.entries(w.body).map(([key, value]) => <span class="chip" key={key}>{spaced(key)}: {value === 'True' ? 'yes' : value === 'False' ? 'no' : value}</span>)}</td>
              <td>{w.by}</td><td>{w.why}</td><td class="n">{w.left_minutes} min</td>
              <td class="acts">
                {w.by === me.value?.name ? <span class="quiet">somebody else confirms</span> : <button onClick={() => act(w, 'confirm', { payload: w.payload })}>Confirm</button>}
                <button onClick={() => act(w, 'drop')}>{w.by === me.value?.name ? 'Take back' : 'Refuse'}</button>
              </td>
            </tr>
          ))}</tbody>
        </table>
      </div>
    </section>
  );
}

export function KillSwitch() {
  const pressed = shell.value?.is_killed ?? false;
  const [open, setOpen] = useState(false);
  const [because, setBecause] = useState('');
  const [problem, setProblem] = useState('');
  if (!may('kill')) return null;
  const act = (e: Event) => {
    e.preventDefault();
    // Closed at once, not with the answer: the new state may come first by the live socket, and whoever then opens the
    // form for the way back must not see it shut by the answer to the way there.
    setOpen(false);
    post<{ done: boolean; says?: string; id?: string }>('/kill', { pressed: !pressed, because }).then((answer) => { setBecause(''); setProblem(''); if (answer.id) tellWaiting(answer.id); else toast.value = answer.done ? 'The kill switch is pressed.' : answer.says ?? ''; }, (e) => { setOpen(true); setProblem(says(e)); });
  };
  return (
    <section class="panel">
      <h2>Kill switch <small>pressed, only commands towards a device's safe power leave this desk, and the market is told that nothing can be called; it stays pressed over a restart</small></h2>
      <div class="acts pad">
        <span>{pressed ? <><Mark priority={1} /> <b>Pressed</b></> : 'Not pressed'}</span>
        <button onClick={() => setOpen(!open)} aria-expanded={open}>{pressed ? 'Release \u2026' : 'Press \u2026'}</button>
        {open && (
          <form onSubmit={act}>
            <label>Because<input required maxLength={400} value={because} onInput={(e) => setBecause(e.currentTarget.value)} /></label>
            <button>{pressed ? 'Ask to release: a second person confirms' : 'Stop commands that lead away from safety'}</button>
          </form>
        )}
        {problem && <p class="problem" role="alert">{problem}</p>}
      </div>
    </section>
  );
}
