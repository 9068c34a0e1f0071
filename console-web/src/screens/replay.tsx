// Any past instant that is kept: chosen here, and then shown on every screen until somebody goes back to now.
import { useEffect, useState } from 'preact/hooks';
import { call, past, shell, showPast } from '../api';
import { go } from '../route';
import type { KeptSpan } from '../types';
import { age, clock, day } from '../words';

// An instant in ns has more digits than a number holds exactly; whole seconds are exact, and a frame is found by "at or before".
const ns = (seconds: number): string => `${Math.floor(seconds)}000000000`;
const seconds = (at: string | number): number => Math.floor(Number(at) / 1e9);

function useSpan(): KeptSpan | null {
  const [span, setSpan] = useState<KeptSpan | null>(null);
  useEffect(() => {
    const ask = () => call<KeptSpan>('GET', '/past').then(setSpan, () => undefined);
    void ask();
    const timer = setInterval(ask, 10_000);
    return () => clearInterval(timer);
  }, []);
  return span;
}

function Slider({ span, onPick }: { span: KeptSpan; onPick: (at: string) => void }) {
  const low = Math.ceil((span.first_ns ?? 0) / 1e9), high = Math.floor((span.last_ns ?? 0) / 1e9) + 1;
  const [at, setAt] = useState(past.value === null ? high : seconds(past.value));
  useEffect(() => { if (past.value !== null) setAt(seconds(past.value)); }, [past.value]);
  const step = Math.max(Math.round(span.step_ns / 1e9), 1);
  return (
    <>
      <button aria-label="One step back" onClick={() => onPick(ns(Math.max(low, at - step)))}>←</button>
      <input type="range" aria-label="Instant" aria-valuetext={`${day(at * 1e9)} ${clock(at * 1e9)}`} min={low} max={high} step={step} value={at}
        onInput={(e) => setAt(Number(e.currentTarget.value))} onChange={(e) => onPick(ns(Number(e.currentTarget.value)))} />
      <button aria-label="One step on" onClick={() => onPick(ns(Math.min(high, at + step)))}>→</button>
      <output>{day(at * 1e9)} {clock(at * 1e9)}</output>
    </>
  );
}

export function ReplayBar() {
  const span = useSpan();
  // Until the views of then are there, those of now still stand: say so rather than give them the wrong name.
  const known = shell.value?.now_ns ?? Infinity;
  const shown = known <= Number(past.value) + 1e9 ? known : 0;
  return (
    <div class="replaybar" role="region" aria-label="Replay">
      <span>Replay: {shown ? `as known ${day(shown)} ${clock(shown)}` : 'fetching what was known …'}; nothing can be commanded</span>
      {span?.first_ns ? <Slider span={span} onPick={showPast} /> : null}
      <button onClick={() => showPast(null)}>Back to now</button>
    </div>
  );
}

export function ReplayScreen() {
  const span = useSpan();
  const pick = (at: string) => { showPast(at); go('/overview'); };
  return (
    <div class="screen">
      <section class="panel">
        <h1 class="pad">Replay <small>any past instant, every screen as it was known then</small></h1>
        {!span ? <p class="empty">Asking what is kept …</p> : !span.first_ns ? <p class="quiet pad">Nothing is kept yet: the first instant comes with the next beat.</p> : (
          <div class="pad">
            <p>Decisions come from the journal, measurements from frames {age(span.step_ns / 1e9)} apart, from {day(span.first_ns)} {clock(span.first_ns, false)} to {clock(span.last_ns, false)}. Choose an instant; a bar on every screen leads on, back, and to now.</p>
            {past.value === null && <div class="replaybar"><Slider span={span} onPick={pick} /></div>}
          </div>
        )}
      </section>
    </div>
  );
}
