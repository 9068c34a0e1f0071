"""Settings of pools (how each is priced and settled) and of the desk's own limits; every fault is named by its path."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import numpy as np
from msgspec import Struct

from tieline.desk.awards import PROGRAM_OF
from tieline.desk.counted_loads import COUNTED, FRESH_NS, LINE_KINDS, MAY_STOP
from tieline.desk.hedging import OfferRisk
from tieline.desk.people import TwoPeople
from tieline.desk.prices import MOST_PRICE
from tieline.desk.state import DeskState
from tieline.errors import ConfigError
from tieline.fleet.columns import KIND_CODE, Fleet
from tieline.fleet.limiter import FleetLimiter
from tieline.market.participation import model_names, versions_of
from tieline.market.rule import baseline_rules, rule_table
from tieline.resource.batch import SITE_STALE_NS
from tieline.resource.identity import GROUP_KINDS, Kind
from tieline.times import SECOND_NS

BY_SCHEDULE, BY_MERIT = "schedule", "merit"
BY_FORECAST, TYPICAL = "forecast", "typical"
BY_CURVE, PLAIN = "curve", "plain"


class ParticipationSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """By which participation model a pool's offers are held before they leave (`tieline markets list`).

    `gate` is one of the model's (none: whichever is open). `shared` is what all members have in common, such as
    `load-zone`, and `telemetry_s` how often the market hears of the pool; what is left out is not tested.
    """

    model: str
    gate: str = ""
    shared: tuple[str, ...] | None = None
    telemetry_s: float | None = None


class PoolSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How a pool is priced and settled. A day waits `readings_wait_h` hours for readings that lack, then does without.

    `operator_frac` of what a day earns is the operator's, the rest its owners'. `load_rule` and `generator_rule` are
    baseline rules, by their versions in force on the day or pinned (RULE@VERSION). What is awarded is given by
    `dispatch`: a "schedule" over all that is sold, or by "merit" at each moment, which spreads a store's energy evenly
    over it. What loads can give a day ahead goes by what they are foretold to draw (`loads` "forecast", once two weeks
    of readings are there), or by a "typical" share of ratings. What is proposed (`offers`) is a "curve", each watt at
    what it costs and the risk that it lacks (`risk`), or "plain": at cost, with a quarter of all kept back.
    """

    price_zone: str = "system"
    load_rule: str = "caiso-10-in-10"
    generator_rule: str = "caiso-meter-generator-output"
    operator_frac: float = 0.2
    readings_wait_h: float = 72.0
    dispatch: str = BY_SCHEDULE
    loads: str = BY_FORECAST
    offers: str = BY_CURVE
    risk: OfferRisk = OfferRisk()
    participation: ParticipationSettings | None = None

    @property
    def operator_share(self) -> Decimal:
        """`operator_frac` as it is written."""
        return Decimal(str(self.operator_frac))


class LimitSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of the desk itself, whoever asks.

    `fleet_move_w` is the most that all commands of any 60 s may move together (none: half the span of all ratings),
    `feeder_move_w` the same for a feeder (three quarters of its span). `ramp_frac_per_min` is how much of its rating a
    device of a kind may move in a minute. A limit below one device's own step, from end to end, is warned of: what is
    on or off may then not be switched at all. `loads` says how loads count beneath the upper end of a limit on the net
    power of a bus, transformer, feeder or substation: `may_stop` (at nothing, as a load may stop at any moment), or
    `counted` (at what they draw, less 1 %): one word for all of them, or a table with a word for each (`may_stop` of
    those that it leaves out). On other groups they never count, nor where limits share devices and one of them has a
    lower end. On sites they count at what they draw while they tell it often enough: `site_stale_s` is how old a
    reading may be there, and how far apart two, 10 s as a connection has no second above its limit. A load that tells
    its draw more rarely counts for nothing beneath a site's upper end, and at all that it may draw above the lower one;
    with 90, loads that are read once a minute count, and the site may be beyond its end until the next reading shows
    it.
    """

    fleet_move_w: float | None = None
    feeder_move_w: dict[str, float] = {}
    two_people: TwoPeople = TwoPeople()
    ramp_frac_per_min: dict[str, float] = {}
    loads: str | dict[str, str] = MAY_STOP
    site_stale_s: float = SITE_STALE_NS / SECOND_NS

    def counted(self, fleet: Fleet) -> frozenset[str]:
        """Return the groups of a fleet whose loads count at what they draw."""
        words = dict.fromkeys(_lines(fleet), self.loads) if isinstance(self.loads, str) else self.loads
        return frozenset(name for name, rule in words.items() if rule == COUNTED)

    def count_loads(self, state: DeskState) -> None:
        """Have loads count in a desk as these settings say."""
        state.counted, state.site_stale_ns = self.counted(state.fleet), round(self.site_stale_s * SECOND_NS)


def check_pools(pools: Mapping[str, PoolSettings], path: Path) -> None:
    """Hold settings of pools against their limits. Raises ConfigError naming path, value and limit."""
    # A server keeps no temperatures and no controls; a rule that goes by them is for `tieline baseline`.
    rules = {name: rule for name, rule in baseline_rules().items() if not rule.needs}
    for name, pool in pools.items():
        at = f"$.pools.{name}"
        for key in ("load_rule", "generator_rule"):
            rule = getattr(pool, key)
            # A version can be pinned (RULE@VERSION); without one the day that is settled chooses it.
            name, is_pin, _ = rule.partition("@")
            if name not in rules or (is_pin and rule not in {one.ref for one in rule_table().versions(name)}):
                raise ConfigError(f"{path}: {key} {rule!r} at {at}.{key}: give one of {', '.join(sorted(rules))}")
        if not 0.0 <= pool.operator_frac <= 1.0:
            raise ConfigError(f"{path}: operator_frac {pool.operator_frac:g} at {at}.operator_frac: give 0 to 1")
        if pool.dispatch not in (BY_SCHEDULE, BY_MERIT):
            raise ConfigError(f"{path}: {pool.dispatch!r} at {at}.dispatch: give {BY_SCHEDULE} or {BY_MERIT}")
        if pool.loads not in (BY_FORECAST, TYPICAL):
            raise ConfigError(f"{path}: {pool.loads!r} at {at}.loads: give {BY_FORECAST} or {TYPICAL}")
        if pool.offers not in (BY_CURVE, PLAIN):
            raise ConfigError(f"{path}: {pool.offers!r} at {at}.offers: give {BY_CURVE} or {PLAIN}")
        _check_risk(pool.risk, path, f"{at}.risk")
        wait_h = pool.readings_wait_h
        if not 0.0 <= wait_h <= 24.0 * 60:
            raise ConfigError(f"{path}: readings_wait_h {wait_h:g} at {at}.readings_wait_h: give 0 to 1440")
        if not pool.price_zone:
            raise ConfigError(f"{path}: price_zone '' at {at}.price_zone: give what the market calls it")
        if pool.participation is not None:
            _check_participation(pool.participation, path, f"{at}.participation")


def _check_risk(risk: OfferRisk, path: Path, at: str) -> None:
    if not 0.0 <= risk.penalty_per_mwh <= MOST_PRICE:
        limit = f"give 0 to {MOST_PRICE:g}"
        raise ConfigError(f"{path}: penalty_per_mwh {risk.penalty_per_mwh:g} at {at}.penalty_per_mwh: {limit}")
    for key in ("aversion", "most_short_frac"):
        value = getattr(risk, key)
        if not 0.0 <= value <= 1.0:
            raise ConfigError(f"{path}: {key} {value:g} at {at}.{key}: give 0 to 1")
    if not 0.0 < risk.tail_frac <= 1.0:
        raise ConfigError(f"{path}: tail_frac {risk.tail_frac:g} at {at}.tail_frac: give over 0 to 1")


def _check_participation(part: ParticipationSettings, path: Path, at: str) -> None:
    if part.model not in model_names():
        known = ", ".join(model_names())
        raise ConfigError(f"{path}: model {part.model!r} at {at}.model: give one of {known}")
    model = versions_of(part.model)[1][0]
    if part.gate and part.gate not in model.gates:
        known = ", ".join(model.gates) or "(none)"
        raise ConfigError(f"{path}: gate {part.gate!r} at {at}.gate: give one of {known}")
    if model.product not in PROGRAM_OF or "up" not in model.directions.value:
        served = ", ".join(PROGRAM_OF)
        raise ConfigError(f"{path}: model {part.model!r} at {at}.model: give one that sells {served}, upwards")
    if part.telemetry_s is not None and not 0.0 < part.telemetry_s <= 3_600.0:
        raise ConfigError(f"{path}: telemetry_s {part.telemetry_s:g} at {at}.telemetry_s: give over 0 to 3600")


def check_limits(limits: LimitSettings, path: Path) -> None:
    """Hold limits against what makes sense. Raises ConfigError naming path, value and limit."""
    moves = {"fleet_move_w": limits.fleet_move_w} if limits.fleet_move_w is not None else {}
    for key, value in (*moves.items(), *((f"feeder_move_w.{name}", w) for name, w in limits.feeder_move_w.items())):
        if not 0.0 < value <= 1e12:
            raise ConfigError(f"{path}: {value:g} at $.limits.{key}: give over 0 to 1e12 W")
    two = limits.two_people
    if not 0.0 < two.fleet_frac <= 1.0:
        raise ConfigError(f"{path}: {two.fleet_frac:g} at $.limits.two_people.fleet_frac: give over 0 to 1")
    for key, count in (("devices", two.devices), ("least_devices", two.least_devices)):
        if not 1 <= count <= 10**9:
            raise ConfigError(f"{path}: {count} at $.limits.two_people.{key}: give 1 to 1,000,000,000")
    words = {"": limits.loads} if isinstance(limits.loads, str) else {f".{k}": w for k, w in limits.loads.items()}
    for key, rule in words.items():
        if rule not in (MAY_STOP, COUNTED):
            raise ConfigError(f"{path}: {rule!r} at $.limits.loads{key}: give {MAY_STOP} or {COUNTED}")
    if not 1.0 <= limits.site_stale_s <= FRESH_NS / SECOND_NS:
        most = f"1 to {FRESH_NS / SECOND_NS:g} s, after which no reading counts anywhere"
        raise ConfigError(f"{path}: {limits.site_stale_s:g} at $.limits.site_stale_s: give {most}")
    kinds = sorted(kind.value for kind in Kind if kind not in GROUP_KINDS)
    for kind_name, frac in limits.ramp_frac_per_min.items():
        if kind_name not in kinds:
            raise ConfigError(f"{path}: {kind_name!r} at $.limits.ramp_frac_per_min: give one of {', '.join(kinds)}")
        if not 0.0 < frac <= 1e6:
            raise ConfigError(f"{path}: {frac:g} at $.limits.ramp_frac_per_min.{kind_name}: give over 0 to 1e6")


def check_fleet(pools: Mapping[str, PoolSettings], limits: LimitSettings, fleet: Fleet) -> None:
    """Hold names of the settings against the registry. Raises ConfigError naming those that it has."""
    known = [group.id for group in fleet.groups_of(Kind.POOL)]
    for name in pools:
        if name not in known:
            raise ConfigError(f"$.pools: {name!r} is no pool: give one of {', '.join(known) or '(none)'}")
    feeders = [group.id for group in fleet.groups_of(Kind.FEEDER)]
    for name in limits.feeder_move_w:
        if name not in feeders:
            few = ", ".join(feeders[:10]) or "(none)"
            raise ConfigError(f"$.limits.feeder_move_w: {name!r} is no feeder: give one of {few}")
    _check_loads(limits, fleet)


def _lines(fleet: Fleet) -> list[str]:
    """Return the groups that have a line of their own, feeders first."""
    return [group.id for kind in LINE_KINDS for group in fleet.groups_of(kind)]


def _check_loads(limits: LimitSettings, fleet: Fleet) -> None:
    """Hold groups whose loads count against the registry: what has no line of its own has no net flow to count in."""
    known = _lines(fleet)
    for name in () if isinstance(limits.loads, str) else limits.loads:
        if name not in known:
            few = ", ".join(known[:10]) or "(none)"
            kinds = ", ".join(kind.value for kind in LINE_KINDS[:-1]) + f" or {LINE_KINDS[-1].value}"
            raise ConfigError(f"$.limits.loads: {name!r} is no {kinds}: give one of {few}, or one word for all")


def narrow_moves(limits: LimitSettings, fleet: Fleet) -> list[str]:
    """Return what is to be said of limits that are below the step of one device: from one end to the other (W)."""
    made, says = FleetLimiter(fleet), []
    step_w = fleet.max_inject_w + fleet.max_absorb_w
    moves = []
    if limits.fleet_move_w is not None:
        moves.append(("fleet_move_w", limits.fleet_move_w, np.arange(len(fleet))))
    for name, value in limits.feeder_move_w.items():
        moves.append((f"feeder_move_w.{name}", value, np.flatnonzero(made.feeder_of == made.feeders.index(name))))
    for key, value, rows in moves:
        wide = rows[step_w[rows] > value]
        if len(wide):
            most = int(wide[step_w[wide].argmax()])
            others = f" and {len(wide) - 1} more" if len(wide) > 1 else ""
            says.append(
                f"$.limits.{key} = {value:g} W is below the step of {fleet.id_of(most)} ({step_w[most]:g} W){others}: "
                f"what takes a part moves by so much a minute, what is on or off may not be switched at all"
            )
    return says


def apply_limits(limits: LimitSettings, state: DeskState) -> None:
    """Put the limits where the kernel and the desk hold them."""
    fleet, made = state.fleet, FleetLimiter(state.fleet, limits.fleet_move_w)
    for name, value in limits.feeder_move_w.items():
        made.feeder_w[made.feeders.index(name)] = value
    state.limiter, state.two_people = made, limits.two_people
    limits.count_loads(state)
    rated_w = np.maximum(fleet.max_inject_w, fleet.max_absorb_w)
    for name, frac in limits.ramp_frac_per_min.items():
        rows = fleet.kinds == KIND_CODE[Kind(name)]
        fleet.ramp_w_per_s[rows] = frac / 60.0 * rated_w[rows]
