"""A limit on a group: shared out as caps on its leaves, and kept by feedback from their meters (rules R16, R17).

Only what can hold a power takes part: against an upper limit stores and generators, against a lower one stores and
loads. Against a lower limit the others are counted at what they do. Against an upper one a load counts for nothing, as
it may stop at any moment: none is told that it must draw, unless the limit is below what all others can take; behind a
site's meter of a few seconds (R17) it counts at what it draws, and so it does, less a margin, in a group of which the
settings say that (`desk.counted_loads`). A leaf that can't be reached counts at the largest of its leased cap, its
default and, while that lasts, where the command leaves it that it took last; once no cap that it acknowledged holds at
its base too, if more. One that gives, or draws, more than it was told counts at what it does, and keeps its cap: the
others make room. A load that is on or off has a cap of all or nothing: as many are let on as fit, and they take turns,
so that none stands still for as long as a limit lasts. A limit on a feeder's generation counts what each device gives,
and no taking of another makes it good, as where crews work on a live line nothing may feed in (IEEE 1547-2018, 4.6.2;
IEEE 2030.5 opModGenLimW). Of a limit on both ends the upper one holds though any loads stop, but for what the lower one
needs once all loads are shed that may be: so much those that give may give, and near the lower end none gives less
before the loads draw less. A store whose owner opted out is pressed to charge, or to give, last: once all others are at
their least. Who is called to give has the room beside what the others give by themselves (`desk.beside`), but near the
lower end of both. When caps move, those that sink are placed at once; one that grows waits until what another gave up
is acknowledged, as a command may be lost on its way.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tieline.desk.beside import called_up, own_w
from tieline.desk.both_ends import moving_of, within_both
from tieline.desk.charge_turns import charging_of, note_charging
from tieline.desk.counted_loads import COUNTED, SURE_FRAC, counted, is_stale, rule_of
from tieline.desk.entry import Entry
from tieline.desk.extents import reach_w, worst_w
from tieline.desk.giving import giving_caps
from tieline.desk.growing import grown_where_free
from tieline.desk.nested import MARGIN_FRAC, Layer, Within, covers_of, firm_of, in_force, layers_of, left_by_others
from tieline.desk.one_end import drawn_less, kept_on, lower_caps, upper_caps
from tieline.desk.overlap import keep_together
from tieline.desk.own_limits import Own, own_of
from tieline.desk.placed_anew import least_frac, placed_anew
from tieline.desk.seen import Seen
from tieline.desk.state import DeskState, LiveAsk
from tieline.desk.stopping import about_to_stop, stopping_w
from tieline.desk.strays import forget_strays, kept_w, note_strays, shares_w
from tieline.desk.together import does_together_w
from tieline.desk.told import as_told, note_unused
from tieline.desk.wants import LEAST_TRIED, beyond_w, note_idle, tried_charger, wants, with_waiting_cars
from tieline.desk.withheld import forget_ended, forget_grown, note_withheld
from tieline.desk.worth import MOVES_FRAC, NESTED_FRAC, is_worth
from tieline.fleet.columns import places
from tieline.resource.hold import LEAST_CHARGE_W
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.resource.quality import UNFIT_FOR_DISPATCH

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
Held = tuple[Layer, LiveAsk, Rows]
"""A limit in force, in its layer, and whom it holds."""
NESTED_PASSES = 40
"""So often limits that share devices look at what the others made of them."""


def caps_of(
    state: DeskState,
    resource: str,
    rows: Rows,
    ends: tuple[float, float],
    now_ns: int,
    within: Within | None = None,
    stops_w: Floats | None = None,
    own: Own | None = None,
    seen: Seen | None = None,
) -> tuple[Floats, Floats]:
    """Return the leaves' low and high caps (W) for a limit (low, high) on a group, by what kind of group it is.

    A limit that has just come knows of no other (`within`), or the order in which they come would count:
    the beat that it calls for brings them together, before any device is told.
    """
    kind, seen = state.fleet.kind_of(resource), seen or Seen(state, rows, now_ns)
    if kind is Kind.GENERATION:
        return giving_caps(state, rows, ends, now_ns, own)
    drawn = counted(state, resource, rows, now_ns)
    return caps(state, rows, *ends, now_ns, kind is Kind.SITE, within, stops_w, drawn, own, seen)


def caps(
    state: DeskState,
    rows: Rows,
    low_w: float,
    high_w: float,
    now_ns: int,
    is_site: bool = False,
    within: Within | None = None,
    stops_w: Floats | None = None,
    drawn: NDArray[np.bool_] | None = None,
    own: Own | None = None,
    seen: Seen | None = None,
) -> tuple[Floats, Floats]:
    """Return the leaves' low and high caps (W) for a group's limit; an end beyond all ratings binds none, stays open.

    What limits of other groups leave to each (`within`, W) is what it does, whatever its meter showed before they came.
    A load makes no more room above than it was told to draw (`stops_w`, each row of the fleet; None: by its command).
    Which loads make any elsewhere than behind a site's connection is `drawn` (shape (n,); None: none does). Shares are
    made within what limits of their own leave the rows (`own`).

    Behind a site's connection a reading older than 10 s, or what the settings say, is none: the worst load is assumed
    (R17), but no worse than the caps that hold there, or none would ever suffice.
    """
    fleet, seen = state.fleet, seen or Seen(state, rows, now_ns)
    inject_w, absorb_w = fleet.max_inject_w[rows], fleet.max_absorb_w[rows]
    now_w, base_w = fleet.power_or_0_w(rows), state.base_w[rows]
    lost = (fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) != 0
    blind = is_site & is_stale(state, rows, now_ns)
    # Who keeps to no command at one end is no help at the other.
    ignores, ignores_low = (away := seen.away) & (inject_w > 0), away & (absorb_w > 0)
    now_w = now_w if within is None else np.where(away, now_w, within.does_w)
    low, high = np.full(len(rows), -math.inf), np.full(len(rows), math.inf)
    least_up_w, least_down_w = reach_w(state, rows)
    if within is not None:
        least_up_w, least_down_w = np.maximum(least_up_w, -within.high_w), np.maximum(least_down_w, within.low_w)
    spared = state.opted_out[rows]
    limits_high, limits_low = high_w < float(inject_w.sum()), low_w > -float(absorb_w.sum())
    if within is not None:
        # What another limit leaves a store is what it is: 1 W is little enough, and none makes it a load.
        inject_w = np.minimum(inject_w, np.maximum(within.high_w, 1.0))
        absorb_w = np.minimum(absorb_w, np.maximum(-within.low_w, 1.0))
        least_up_w, least_down_w = np.minimum(least_up_w, absorb_w), np.minimum(least_down_w, inject_w)
    holds_up, holds_down = inject_w > 0, absorb_w > 0
    first_up_w, first_down_w = np.full(len(rows), -math.inf), np.full(len(rows), -math.inf)
    top_w, depth_w = inject_w, absorb_w
    if own is not None:
        # A load may draw less than it is told to, no sun gives more than it shines, and who keeps to no command keeps
        # to none of these.
        now_w = np.where(away | lost, now_w, own.kept_to(now_w, ~holds_up, np.where(holds_down, inject_w, now_w)))
        least_up_w, least_down_w = np.maximum(least_up_w, -own.most_w), np.maximum(least_down_w, own.least_w)
        top_w, depth_w = np.minimum(inject_w, own.high_w), np.minimum(absorb_w, -own.low_w)
        least_up_w, least_down_w = np.minimum(least_up_w, depth_w), np.minimum(least_down_w, top_w)
        first_up_w, first_down_w = np.minimum(-own.high_w, depth_w), np.minimum(own.low_w, top_w)
        # Who may give, or draw, nothing is no other kind of device by that.
        inject_w = np.where(holds_up, np.maximum(top_w, 1.0), inject_w)
        absorb_w = np.where(holds_down, np.maximum(depth_w, 1.0), absorb_w)
        top_w, depth_w = np.where(holds_up, top_w, 0.0), np.where(holds_down, depth_w, 0.0)
    gives_w, draws_w = now_w, -now_w
    if blind.any():
        worst_gives_w, worst_draws_w = worst_w(state, rows, now_ns)
        gives_w, draws_w = np.where(blind, worst_gives_w, now_w), np.where(blind, worst_draws_w, -now_w)
    # Who can't be reached: the most that he may give, and draw.
    most_w, least_w = (np.where(lost, unheard, np.nan) for unheard in seen.unheard_w)
    loads, lowest_w = (inject_w <= 0) & ~lost, low_w + MARGIN_FRAC * min(float(absorb_w.sum()), abs(low_w))
    drawn = np.zeros(len(rows), np.bool_) if drawn is None or is_site else drawn & loads
    alone_w = np.where(ignores, np.maximum(gives_w, 0.0), most_w)
    draws_alone_w = np.where(ignores_low, np.maximum(draws_w, 0.0), least_w)
    # Who can't be reached counts at what he may draw, and not once more by what his meter said last.
    heard = ~(lost | ignores_low)
    beyond = beyond_w(state, rows[heard], draws_w[heard], now_ns) if limits_low else 0.0
    lowest_w += beyond + float(draws_alone_w[lost | ignores_low].sum()) - float(alone_w[ignores].sum())

    told_low = low

    def highs(floor_w: float) -> Floats:
        # Behind a site's meter who may no longer draw, by the lower end, makes no room for the others.
        goes = (told_low > -math.inf) & (state.is_switched[rows] & (-told_low < absorb_w))
        makes_none, told_low_w = goes & (is_site | drawn), np.minimum(told_low, 0.0)
        counted_w = (
            np.maximum(gives_w, told_low) if is_site else np.where(drawn, np.maximum(makes_w, told_low_w), makes_w)
        )
        counted_w = np.where(makes_none, 0.0, counted_w)
        told, leasts, most = (told_w, held, own_by_w, called), (first_down_w, least_down_w), (holds_up, top_w)
        found = upper_caps(high_w, told, counted_w, leasts, most, alone_w, spared, floor_w)
        return np.where(ignores, np.minimum(kept_high_w, np.maximum(gives_w, 0.0)), found)

    needs_w = lowest_w + float(np.maximum(least_up_w[loads & heard], 0.0).sum()) if limits_low else -math.inf
    if limits_high:
        goes_w = np.where(loads, stopping_w(state, rows, now_ns) if stops_w is None else stops_w[rows], -math.inf)
        gives_w = np.maximum(gives_w, goes_w)
        makes_w = np.where(drawn, SURE_FRAC * np.minimum(gives_w, 0.0), np.maximum(gives_w, 0.0))
        # Who can hold a cap is safe by it, whatever it does unheard: the caps go by what each was last heard to do.
        holds = ~(lost | ignores) & (inject_w > 0)
        told_gives_w = np.where(blind & holds, now_w, gives_w)
        # The other end may need what one gives that is told to: nobody is lifted at his cost then.
        told_w, held = as_told(state, rows, told_gives_w, inject_w, holds, now_ns, lifts=not limits_low)
        if limits_low:
            told_w = drawn_less(told_w, holds, low_w - float(told_w.sum()))
        own_by_w, called = np.minimum(own_w(state, rows, now_ns), top_w), holds & called_up(state, rows, now_ns)
        if limits_low and float(now_w.sum()) < 0.5 * (low_w + high_w):
            called = np.zeros(len(rows), np.bool_)  # near its other end the group needs what they give
        told_high_w = np.minimum(state.commands.high_w[rows], inject_w)
        kept_high_w = kept_w(told_high_w, -absorb_w, high_w, ~lost & (inject_w > 0))
        if within is not None:
            does_w = gives_w if is_site else np.where(loads, makes_w, gives_w)
            least_down_w = kept_on(holds & ~blind, does_w, within.wants_w, least_down_w, high_w)
        high = highs(needs_w)
    if limits_low:
        heard_w = -np.minimum(now_w, np.maximum(high, 0.0))
        draw_w = np.where(blind, absorb_w, heard_w)
        wanted = wants(state, rows, heard_w, now_ns)
        if within is None and not limits_high:
            wanted = with_waiting_cars(state, rows, wanted[0], now_ns), wanted[1]
        charging = charging_of(state, rows, heard_w, wanted[0], absorb_w, now_ns)
        if limits_high:
            charging = charging._replace(turns=None)
        least_up_w = np.where(np.isfinite(high), np.maximum(least_up_w, -high), least_up_w)  # who must draw may
        left_w = -low_w - beyond
        at = tried_charger(state, rows, heard_w, now_ns)
        sure_w = float(np.maximum(least_up_w[heard], 0.0).sum()) + float(draws_alone_w[~heard].sum())
        if at is not None and left_w - sure_w >= LEAST_TRIED * LEAST_CHARGE_W:
            least_up_w[at] = max(least_up_w[at], charging.least_w[at])
        if within is not None:
            whole = state.is_switched[rows] | lost | blind
            least_up_w = kept_on(~whole, heard_w, -within.wants_w, least_up_w, left_w)
        low = -lower_caps(
            left_w, draw_w, -base_w, (first_up_w, least_up_w), (holds_down, depth_w), draws_alone_w, wanted, charging,
            spared,
        )  # fmt: skip
        told_draw_w = np.minimum(-state.commands.low_w[rows], absorb_w)
        kept_low_w = -kept_w(told_draw_w, -inject_w, -low_w, ~lost & (absorb_w > 0))
        low = np.where(ignores_low, np.maximum(kept_low_w, -np.maximum(draws_w, 0.0)), low)
    if limits_low and limits_high:
        gone_w = float(np.nansum(alone_w)) + MARGIN_FRAC * min(float(inject_w.sum()), abs(high_w))
        called_w, told_low = np.where(loads & heard & (stops_w is not None), goes_w, -math.inf), low
        steps = not is_site and within is None
        if steps and drawn.any():  # who is not told to go yet makes room still
            moving = moving_of(state, rows, ~(lost | away), low, called_w)
            told_low = within_both((np.minimum(low, high), high), moving, (low_w, high_w))[0]
        # The end decides that the group is nearer to: where caps cross, and who moves first.
        is_low = float(now_w.sum()) < 0.5 * (low_w + high_w)
        if is_low:
            # Nobody gives less before the loads draw less: till then the group would stand further beyond this end. Of
            # those that stay what is on or off counts wholly or not at all.
            goes = state.is_switched[rows] & (-low < absorb_w)
            stays_w = float(np.where(goes, 0.0, np.minimum.reduce([draws_w, -low, -goes_w]))[loads].sum())
            needed_w = lowest_w + float(draws_w[loads & heard].sum())
            goes_on_w = min(float(gives_w[holds].sum()), needed_w, high_w - gone_w + stays_w)
            high = highs(max(needs_w, goes_on_w))
        elif is_site or drawn.any():
            high = highs(needs_w)
        low, high = (low, np.maximum(low, high)) if is_low else (np.minimum(low, high), high)
        if steps:
            moving = moving_of(state, rows, ~(lost | away), low, called_w)
            low, high = within_both((low, high), moving, (low_w, high_w))
        # What they do now counts as well: what is to sink may not have yet.
        counted_low_w = np.where(lost, -np.nan_to_num(least_w), np.where(absorb_w <= 0, now_w, np.minimum(low, now_w)))
        counted_high_w = np.where(lost, np.nan_to_num(most_w), np.where(inject_w <= 0, now_w, np.maximum(high, now_w)))
        low, high = shares_w(state, rows, away, (low, high), (counted_low_w, counted_high_w), (low_w, high_w))
    return low, high


def decide_regulation(state: DeskState, now_ns: int) -> list[Entry]:
    """Return the facts that move the caps of group limits to where the meters say that they must be.

    Limits that share devices are gone through, inner ones first, until none moves what another leaves; what comes of it
    is placed once.
    """
    limits = in_force(state, now_ns)
    forget_strays(state, covers_of(state, limits) > 0)
    forget_ended(state, limits)
    return _regulated(state, limits, now_ns)


def decide_beside_calls(state: DeskState, now_ns: int) -> list[Entry]:
    """Return the facts that move caps beside loads which a beat's calls are about to stop, before any is told."""
    limits = in_force(state, now_ns)
    among = [state.fleet.leaves(live.ask.resource) for live in limits if _counts_loads(state, live)]
    if not among:
        return []
    rows, stops_w = about_to_stop(state, np.unique(np.concatenate(among)), now_ns)
    return _regulated(state, limits, now_ns, (rows, stops_w)) if len(rows) else []


def _counts_loads(state: DeskState, live: LiveAsk) -> bool:
    """Whether what loads draw may make room for what others give beneath a limit's upper end: not if it binds none."""
    ask, is_counted = live.ask, rule_of(state, live.ask.resource) == COUNTED
    binds = ask.high < float(state.fleet.max_inject_w[state.fleet.leaves(ask.resource)].sum())
    return math.isfinite(ask.high) and binds and (is_counted or math.isfinite(ask.low))


def _regulated(
    state: DeskState, limits: list[LiveAsk], now_ns: int, stops: tuple[Rows, Floats] | None = None
) -> list[Entry]:
    """Return the facts that move caps: all, or (`stops`: who is about to stop, what all are told) of who holds one."""
    layers = layers_of(state, limits)
    held = [(layer, live, places(state.fleet.leaves(live.ask.resource))) for layer in layers for live in layer.limits]
    was = {live.record: (layer.low[rows], layer.high[rows]) for layer, live, rows in held}
    held = [one for one in held if not np.isnan(was[one[1].record][0]).any()]
    found = note_strays(state, [(rows, (live.ask.low, live.ask.high)) for _, live, rows in held], now_ns)
    away = {live.record: mask for (_, live, _), mask in zip(held, found, strict=True)}
    for _, _, rows in held:
        note_idle(state, rows, now_ns)
        note_charging(state, rows, now_ns)
        note_unused(state, rows, now_ns)
    mine = held if stops is None else [one for one in held if np.isin(stops[0], one[2]).any()]
    own = _own_limits(state, layers, held, now_ns)
    _share_out(state, layers, mine, now_ns, None if stops is None else stops[1], own, away)
    made = [
        entry for layer, live, rows in held
        for entry in placed_anew(state, layer, live, rows, was[live.record], now_ns, own.get(live.ask.level))
    ]  # fmt: skip
    forget_grown(state)
    return made


def _own_limits(state: DeskState, layers: list[Layer], held: list[Held], now_ns: int) -> dict[Level, Own]:
    """Return what limits of their own leave all rows beneath a limit of each level; empty where there are none."""
    lives, levels = [live for _, live, _ in held], {live.ask.level for layer in layers for live in layer.limits}
    found = {level: own_of(state, lives, level, now_ns) for level in sorted(levels)}
    return {level: own for level, own in found.items() if own is not None}


def _share_out(
    state: DeskState,
    layers: list[Layer],
    held: list[Held],
    now_ns: int,
    stops_w: Floats | None,
    own: dict[Level, Own],
    away: dict[str, Mask],
) -> None:
    """Share out limits in force anew: the caps of their layers move, those that share devices knowing of each other."""
    any_own = next(iter(own.values()), None)
    covers = np.sum([layer.of >= 0 for layer in layers], axis=0)
    nested = [(covers[rows] > 1).any() for _, _, rows in held]
    does_w = does_together_w(state, layers, now_ns, any_own) if any(nested) else (np.zeros(0), np.zeros(0))
    for (layer, _, rows), is_nested in zip(held, nested, strict=True):
        if is_nested:  # what was placed before they knew of each other holds nobody back from what he is to do
            layer.low[rows] = np.minimum(layer.low[rows], np.minimum(does_w[0], does_w[1])[rows])
            layer.high[rows] = np.maximum(layer.high[rows], np.maximum(does_w[0], does_w[1])[rows])
    firm = firm_of(layers, own)
    # Each is due at first, and again whenever another moved what it leaves to one of its rows.
    due = {id(layer): np.ones(len(layer.limits), np.bool_) for layer in layers}
    for _ in range(NESTED_PASSES):
        for layer, live, rows in held:
            at = layer.of[rows[0]]
            if due[id(layer)][at]:
                due[id(layer)][at] = False
                others = left_by_others(layers, layer, rows, does_w, firm)
                mine = own[live.ask.level].of(rows) if own else None
                moved = rows[_shared_anew(state, (layer, live, rows), others, now_ns, stops_w, mine, away[live.record])]
                for other in layers:
                    due[id(other)][other.of[moved][other.of[moved] >= 0]] |= other is not layer
        if not any(mask.any() for mask in due.values()):
            break
    if any(nested):
        keep_together(state, layers, now_ns, any_own)


def _shared_anew(
    state: DeskState,
    held: Held,
    others: Within | None,
    now_ns: int,
    stops_w: Floats | None,
    own: Own | None,
    away: Mask,
) -> NDArray[np.bool_]:
    """Share out one limit beside what others leave, and return which of its caps moved: none, if all but little."""
    layer, live, rows = held
    ask, seen = live.ask, Seen(state, rows, now_ns, away)
    wish = caps_of(state, ask.resource, rows, (ask.low, ask.high), now_ns, others, stops_w, own, seen)
    new, old = grown_where_free(state, rows, ask, wish, now_ns, others, seen, own), (layer.low[rows], layer.high[rows])
    note_withheld(state, live, rows, new, wish, now_ns, own is not None and own.is_owed(new, wish))
    # Where another limit takes a part of what one device made good, a little is what the group is beyond its limit by.
    some_frac = least_frac(state, live, MOVES_FRAC if others is None else NESTED_FRAC)
    if not (own is not None and own.is_owed(old, new)) and not is_worth(state, ask, rows, new, old, some_frac):
        return np.zeros(len(rows), np.bool_)
    layer.low[rows], layer.high[rows] = new
    moved: NDArray[np.bool_] = (new[0] != old[0]) | (new[1] != old[1])
    return moved


def shared_out(state: DeskState, now_ns: int) -> NDArray[np.bool_]:
    """Return which rows a limit on a group holds together; shape (n,)."""
    return covers_of(state, in_force(state, now_ns)) > 0
