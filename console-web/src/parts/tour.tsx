// Five steps through a demonstration, each on its screen.
import { useEffect, useRef } from 'preact/hooks';
import { may } from '../api';
import { go } from '../route';
import { step } from './tourstep';

const STEPS: { to: string; needs: string; title: string; text: string }[] = [
  { to: '/', needs: 'see_grid', title: 'What is owed, what is delivered', text: 'Upper left: the market\u2019s instruction against what the devices really deliver. Grey is normal; colour means that something is wrong now. Each cell on the right is a device, the sickest feeders first: click one.' },
  { to: '/resource/pool-1', needs: 'see_resource', title: 'One resource, two views', text: 'Market and control room look at the same revision of the same resource. Below: everybody who wants something of it, who wins, and why the others do not.' },
  { to: '/feeders', needs: 'see_grid', title: 'The grid has the last word', text: 'Feeders with broken limits stand first. Open one for its one-line: voltage, loading, and the limits in force. A limit takes from the pool, and the pool finds substitutes.' },
  { to: '/events', needs: 'see_events', title: 'Call an event, with two people', text: 'Compose, preview what it would do minute by minute, then submit. Nothing happens before a second person approves; cancel gives back what held before.' },
  { to: '/market', needs: 'see_market', title: 'From award to money', text: 'Offered, awarded, instructed, delivered, hour by hour. The trace on any resource leads from an award to the device and on to the cent in the settlement.' },
];
const steps = () => STEPS.filter((s) => may(s.needs));

export default function Tour() {
  const all = steps(), now = all[step.value];
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => { if (now) { go(now.to); box.current?.focus(); } }, [step.value]);
  if (!now) return null;
  const end = () => { step.value = -1; localStorage.setItem('tour', 'seen'); };
  return (
    <div class="tour" role="dialog" aria-label="Guided tour" tabIndex={-1} ref={box} onKeyDown={(e) => e.key === 'Escape' && end()}>
      <p class="quiet">Step {step.value + 1} of {all.length}</p>
      <h2>{now.title}</h2>
      <p>{now.text}</p>
      <div class="acts">
        {step.value > 0 && <button onClick={() => step.value--}>Back</button>}
        {step.value < all.length - 1 ? <button onClick={() => step.value++}>Next</button> : <button onClick={end}>Done</button>}
        <button class="plain" onClick={end}>End the tour</button>
      </div>
    </div>
  );
}
