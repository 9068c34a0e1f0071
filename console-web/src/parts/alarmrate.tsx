import type { AlarmRate } from '../types';
import { clock } from '../words';

const AIM = 1, FLOOD = 10;

/** New alarms in each ten minutes of the last six hours, against the aim and the flood mark of ISA-18.2. */
export function AlarmRates({ rate, height }: { rate: AlarmRate | null; height: number }) {
  if (!rate) return null;
  const most = Math.max(...rate.new, 4), n = rate.new.length;
  const total = rate.new.reduce((a, b) => a + b, 0);
  const standing = rate.by_priority.reduce((a, b) => a + b, 0);
  const floods = rate.new.filter((count) => count > FLOOD).length;
  const share = (k: number) => (standing ? `${Math.round((100 * rate.by_priority[k]) / standing)} %` : '0 %');
  const y = (count: number) => height - (count / most) * (height - 4);
  return (
    <figure class="rate" aria-label="Alarm rate">
      <svg viewBox={`0 0 ${n * 10} ${height}`} style={{ height: `${height}px` }} preserveAspectRatio="none" role="img" aria-label={`New alarms in each 10 minutes since ${clock(rate.starts_ns[0], false)}: ${rate.new.join(', ')}`}>
        {rate.new.map((count, k) => <rect key={k} class={count > FLOOD ? 'flood' : 'fillbar'} x={k * 10 + 1} y={y(count)} width="8" height={height - y(count)}><title>{`${clock(rate.starts_ns[k], false)}: ${count}`}</title></rect>)}
        <path class="aim" d={`M0 ${y(AIM)}H${n * 10}`} />
      </svg>
      <figcaption class="quiet">{total} in 6 h, line is the aim of {AIM} in 10 min{floods ? `; ${floods} floods` : ''} {'\u00b7'} standing by priority {rate.by_priority.join(' / ')} ({share(0)}, {share(1)}, {share(2)}; aim 5, 15, 80 %)</figcaption>
    </figure>
  );
}
