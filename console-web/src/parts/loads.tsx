import type { LoadForecast } from '../types';
import { clock, energy, power, spaced, UNKNOWN } from '../words';
import { useView } from './load';

const share = (frac: number | null): string => frac === null ? UNKNOWN : `${(100 * frac).toFixed(1)} %`;

/** What loads are foretold to draw, which day-ahead offers go by, and what the forecast was worth lately. */
export function Loads() {
  const { view } = useView<LoadForecast[]>('/forecasts', 300);
  if (!view?.length) return null;
  return (
    <section class="panel">
      <h2>Loads foretold <small>what offers of loads go by; skill is over the same day a week ago</small></h2>
      <div class="scroll" tabIndex={0} role="region" aria-label="Loads foretold">
        <table>
          <thead><tr><th>Pool</th><th>Kind</th><th>Day</th><th class="n">Draws</th><th class="n">At most</th><th>by</th><th class="n" title="Sum of absolute errors over the sum of loads, lately">Error</th><th class="n">Skill</th><th>Known since</th></tr></thead>
          <tbody>{view.map((one) => (
            <tr key={one.pool + one.kind + one.day}>
              <td>{one.pool}</td><td>{spaced(one.kind)}</td><td>{one.day}</td><td class="n">{energy(one.mean_w.reduce((sum, watts) => sum + watts, 0))}</td><td class="n">{power(Math.max(...one.mean_w))}</td>
              <td>{one.model}</td><td class="n">{share(one.wape.chosen ?? null)}</td><td class="n">{share(one.skill)}</td><td>{clock(one.known_at_ns, false)}</td>
            </tr>
          ))}</tbody>
        </table>
      </div>
    </section>
  );
}
