"""An offer as a market takes it, and the rules that it is held against before it leaves.

Every rule of a model has an id, `MODEL/RULE`; a fault names field, value and limit beside it. All faults of an offer
are returned, not the first. Where the model has no figure for a rule, or the offer doesn't say what a rule needs (who
stands behind it, what instant it is), the rule is not tested and is named as such. The rules themselves stand in
`offer_rules`, one function each, and over columns in `offer_columns`.
"""

from __future__ import annotations

from msgspec import Struct

from tieline.market.participation import Direction, Model
from tieline.resource.claim import Refusal

SLACK_W = 1e-3
"""A milliwatt: what MW with decimals become in W does not round alike."""
SLACK_PRICE = 1e-6
MOST_POWER_W, MOST_PRICE = 1e12, 1e9
RULES = (
    "interval", "opens", "gate", "direction", "form", "points", "power", "increment", "minimum", "maximum", "price",
    "tick", "floor", "cap", "rising", "sustain", "telemetry", "member-least", "member-most", "shared",
)  # fmt: skip
"""Every rule, in the order in which faults are told; its place is its bit in columns."""
BIT = {rule: 1 << at for at, rule in enumerate(RULES)}
FIGURES = {
    "interval": "interval_min", "opens": "gates", "gate": "gates", "direction": "directions", "form": "curve",
    "points": "points_most", "increment": "step_mw", "minimum": "min_mw", "maximum": "max_mw", "tick": "price_tick",
    "floor": "price_floor", "cap": "price_cap", "rising": "prices", "sustain": "sustain_min",
    "telemetry": "telemetry_s", "member-least": "member_least_kw", "member-most": "member_most_kw", "shared": "shared",
}  # fmt: skip
"""From which figure of a model each rule comes; `power` and `price` hold everywhere."""


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """So much more power (W, over 0) at this price (of the market's currency, per MWh or per MW and hour)."""

    power_w: float
    price: float


class Behind(Struct, frozen=True, forbid_unknown_fields=True):
    """What stands behind an offer; None: not said, so that what depends on it is not tested.

    `energy_wh` is what is stored for it, `shared` what all members have in common (such as `load-zone`).
    """

    least_w: float | None = None
    most_w: float | None = None
    telemetry_s: float | None = None
    energy_wh: float | None = None
    shared: tuple[str, ...] | None = None


NOBODY = Behind()


class MarketOffer(Struct, frozen=True, forbid_unknown_fields=True):
    """An offer as a market takes it: by a participation model, at a gate (empty: the model's first)."""

    id: str
    model: str
    start_ns: int
    end_ns: int
    steps: tuple[Step, ...]
    direction: Direction = "up"
    curve: str = "steps"
    gate: str = ""
    behind: Behind = NOBODY

    @property
    def power_w(self) -> float:
        """All that is offered."""
        return sum(step.power_w for step in self.steps)


class Checked(Struct, frozen=True):
    """What a check of an offer came to: its faults, and the rules that were not tested."""

    refusals: tuple[Refusal, ...]
    untested: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        """Whether the offer may leave."""
        return not self.refusals


def sign_of(model: Model, direction: str) -> float:
    """Return which way a curve's prices go with power: 1 up, -1 down.

    Energy that is taken rather than given is bought: the more of it, the less is paid.
    """
    return -1.0 if direction == "down" and model.sells == "energy" else 1.0
