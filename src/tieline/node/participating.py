"""How a served pool takes part in its market: its participation model holds every offer before it leaves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from msgspec import structs

from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Offer, Segment
from tieline.errors import ConfigError
from tieline.fleet.columns import Fleet
from tieline.market.curve import fit_steps
from tieline.market.offer import Behind, MarketOffer, Step
from tieline.market.offer_rules import check_with, open_gate
from tieline.market.participation import Model, model_at
from tieline.node.trade_settings import ParticipationSettings, PoolSettings
from tieline.resource.claim import Refusal
from tieline.resource.identity import Kind
from tieline.times import iso


class Participation:
    """What the participation models of pools take; implements `desk.ports.Admission`."""

    def __init__(self, settings: Mapping[str, PoolSettings], pools: Mapping[str, PoolDesk], fleet: Fleet) -> None:
        """Make it from settings of pools; one without a model takes whatever the desk lets pass."""
        self._of = {name: one.participation for name, one in settings.items() if one.participation is not None}
        self._behind = {name: _behind(part, pools[name], fleet) for name, part in self._of.items() if name in pools}

    def refusal(self, offer: Offer, now_ns: int) -> Refusal | None:
        """Return the first rule that an offer breaks, naming it; None: it may leave."""
        part = self._of.get(offer.pool)
        if part is None:
            return None
        try:
            market, model = model_at(part.model, offer.start_ns)
        except ConfigError as error:
            return Refusal(str(error), "start_ns", iso(offer.start_ns), "a day on which it holds", rule=part.model)
        if offer.product != model.product:
            reason = "not the product of the pool's participation"
            return Refusal(reason, "product", offer.product, model.product, rule=f"{model.id}/product")
        steps = tuple(Step(one.power_w, one.price_per_mwh) for one in offer.segments)
        gate = part.gate or open_gate(market, model, offer.start_ns, now_ns)
        asked = MarketOffer(
            offer.id, model.id, offer.start_ns, offer.end_ns, steps, gate=gate,
            behind=self._behind.get(offer.pool, Behind()),
        )  # fmt: skip
        faults = check_with(market, model, asked, now_ns).refusals
        return faults[0] if faults else None

    def model_of(self, pool: str, at_ns: int) -> Model | None:
        """Return what a pool's market takes at an instant; None: the pool is told no model, or none is in force."""
        part = self._of.get(pool)
        try:
            return None if part is None else model_at(part.model, at_ns)[1]
        except ConfigError:
            return None

    def fitted(self, offer: Offer) -> Offer | None:
        """Return an offer in its market's grain, points and prices; None: nothing of it is taken."""
        part = self._of.get(offer.pool)
        if part is None:
            return offer
        model: Model = model_at(part.model, offer.start_ns)[1]
        power_w = np.array([one.power_w for one in offer.segments])
        price = np.array([one.price_per_mwh for one in offer.segments])
        steps = fit_steps(model, power_w, price)
        made = tuple(Segment(step.power_w, step.price) for step in steps)
        return structs.replace(offer, segments=made) if made else None


def _behind(part: ParticipationSettings, pool: PoolDesk, fleet: Fleet) -> Behind:
    """Return what is known of who stands behind a pool's offers: its sites, and devices without one, by their span."""
    span_w = np.zeros(len(fleet))
    rows = pool.rows[pool.eligible]
    span_w[rows] = fleet.max_inject_w[rows] + fleet.max_absorb_w[rows]
    sites = [fleet.leaves(group.id) for group in fleet.groups_of(Kind.SITE)]
    alone = np.ones(len(fleet), np.bool_)
    sizes = []
    for leaves in sites:
        alone[leaves] = False
        sizes.append(float(span_w[leaves].sum()))
    sizes = [size for size in (*sizes, *span_w[alone].tolist()) if size > 0]
    least_w, most_w = (min(sizes), max(sizes)) if sizes else (None, None)
    return Behind(least_w, most_w, part.telemetry_s, None, part.shared)
