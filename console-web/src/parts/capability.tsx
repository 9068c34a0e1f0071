import type { Capability } from '../types';
import { power } from '../words';
import { useView } from './load';

const NOTICE = '10m';
const told = (seconds: number): string => seconds >= 3600 ? `${seconds / 3600} h` : `${seconds / 60} min`;

/** What a device or group can be called for by a market, from what it would do uncalled. */
export function CanBeCalled({ name }: { name: string }) {
  const { view } = useView<Capability>(`/resources/${encodeURIComponent(name)}/capability?lasts=15m,1h,4h&notice=${NOTICE}`, 30);
  if (!view) return null;
  const up = view.up[0].held, down = view.down[0].held;
  return (
    <section class="panel">
      <h2>Can be called for <small>with 10 minutes' notice, from what it would do uncalled · {view.can_be_called.toLocaleString('en-US')} of {view.devices.toLocaleString('en-US')} can be called{view.is_stopped ? ': the kill switch is pressed' : ''}</small></h2>
      <table>
        <thead><tr><th>Held for</th><th class="n">More</th><th class="n" title="What 95 of 100 cases reach">of that firm</th><th class="n">Less</th><th class="n" title="What 95 of 100 cases reach">of that firm</th></tr></thead>
        <tbody>{up.map((held, k) => (
          <tr key={held.lasts_s}>
            <td>{told(held.lasts_s)}</td><td class="n">{power(held.power_w)}</td><td class="n">{power(held.firm_w)}</td>
            <td class="n">{power(down[k].power_w)}</td><td class="n">{power(down[k].firm_w)}</td>
          </tr>
        ))}</tbody>
      </table>
    </section>
  );
}
