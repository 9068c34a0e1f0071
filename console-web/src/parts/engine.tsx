import type { Resource } from '../types';
import { clock, spaced } from '../words';
import { Mark } from './mark';

/** What a backup engine has run this year of each of its limits, by whose rule, and what is left. */
export function Engine({ view }: { view: Resource }) {
  const engine = view.engine;
  if (!engine) return null;
  return (
    <section class="panel side">
      <h2>Engine hours <small>this calendar year, as its readings show it to run</small></h2>
      <p>
        It stands in {engine.jurisdiction || 'no known place'}{engine.location && `, ${spaced(engine.location)}`}.{' '}
        {engine.runs_since_ns === null ? 'It does not run.' : `It runs since ${clock(engine.runs_since_ns)}, counted as ${spaced(engine.runs_as)}.`}
      </p>
      {!engine.has_permit && <p class="entered">No permit of it is given: no event may call it.</p>}
      <div class="scroll" tabIndex={0} role="region" aria-label="Engine hours">
        <table>
          <thead><tr><th>Run for</th><th class="n">Used</th><th class="n">Limit</th><th class="n">Left</th><th>Rule</th></tr></thead>
          <tbody>{engine.limits.map((limit) => (
            <tr key={`${limit.rule} ${limit.uses.join()}`}>
              <td>{limit.warns && <Mark priority={3} />} {limit.uses.map(spaced).join(', ')}</td>
              <td class="n">{limit.used_h.toFixed(1)} h</td><td class="n">{limit.limit_h.toFixed(1)} h</td><td class="n">{limit.left_h.toFixed(1)} h</td>
              <td title={limit.source}>{limit.rule}</td>
            </tr>
          ))}</tbody>
        </table>
      </div>
    </section>
  );
}
