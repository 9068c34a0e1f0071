import { may } from '../api';
import type { Proposal } from '../types';
import { clock, day, money, power } from '../words';
import { useView } from './load';

const share = (frac: number): string => `${(100 * frac).toFixed(0)} %`;

/** What is proposed to be offered for tomorrow's dear hours, and why: what it is expected to bring, what its lack costs, how sure it is. */
export function Proposed({ pool }: { pool: string }) {
  const { view } = useView<Proposal>(`/offers/proposal?pool=${encodeURIComponent(pool)}`, 300);
  if (!view) return null;
  return (
    <section class="panel">
      <h2>Proposed offers <small>{view.day}; nothing is sent by itself</small></h2>
      {view.offers.length === 0 ? <p class="pad">{view.why}</p> : (
        <div class="scroll" tabIndex={0} role="region" aria-label="Proposed offers">
          <table>
            <thead><tr><th>Hour</th><th class="n">Offers</th><th class="n">from $/MWh</th><th class="n">to $/MWh</th><th class="n" title="Mean of the days of late, or the day-ahead price where it is known">Expected $/MWh</th><th class="n" title="What its dearest watt costs to give; a store's energy at what it would earn elsewhere">Marginal cost $/MWh</th><th class="n" title="Mean over prices">Expected revenue $</th><th class="n" title="What buying back is expected to cost, with its penalty">Expected penalty $</th><th class="n" title="How often any of it clears">Clears</th><th class="n" title="How often all of it is there">All is there</th><th class="n" title="The most that could be offered then, by what is foreseen">Room</th></tr></thead>
            <tbody>{view.offers.map((offer) => {
              const why = view.reasons.find((one) => one.id === offer.id);
              const steps = offer.segments, whole = steps.reduce((sum, one) => sum + one.power_w, 0);
              return (
                <tr key={offer.id} title={steps.map((one) => `${power(one.power_w)} at ${money(one.price_per_mwh)}`).join('; ')}>
                  <td>{day(offer.start_ns)} {clock(offer.start_ns, false)}</td><td class="n">{power(whole)}</td><td class="n">{money(steps[0]?.price_per_mwh ?? null)}</td><td class="n">{money(steps[steps.length - 1]?.price_per_mwh ?? null)}</td>
                  {why ? <><td class="n">{money(why.expected_price)}</td><td class="n">{money(why.marginal_cost)}</td><td class="n">{money(why.revenue)}</td><td class="n">{money(why.penalty)}</td><td class="n">{share(why.clears_frac)}</td><td class="n">{share(why.there_frac)}</td><td class="n">{power(why.room_w)}</td></> : <td colSpan={7}>plain: at cost, a quarter kept back</td>}
                </tr>
              );
            })}</tbody>
          </table>
        </div>
      )}
    </section>
  );
}

/** The proposal, for those who may offer. */
export function ProposedOffers({ pool }: { pool: string }) {
  return may('offer') ? <Proposed pool={pool} /> : null;
}
