"""What is likely to lack of a commitment calls a person while there is time, says why, and goes as that is over."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_own_way import DEVICES, START_NS, Wall, node  # noqa: F401

from tieline.desk.facts import IntervalTracked
from tieline.desk.obligation import DISPATCH_STEP_NS
from tieline.desk.packed import Packed
from tieline.desk.ports import Award
from tieline.desk.views import AlarmView, Commitment, SuppressedAlarm
from tieline.ids import derive
from tieline.node.read_alarms import AlarmBook
from tieline.node.read_commitments import follows_of
from tieline.node.read_likely import FIXES, LASTS_NS, SAYS, as_shown, as_tracked, likely_short, tells_of
from tieline.node.read_short import LEAST_FRAC, STAYS_FRAC
from tieline.node.reader import NodeReader, Sources
from tieline.node.runtime import Node
from tieline.node.steady import HEALTHY_NS, Steady
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS, floor_ns

AWARD_W = 60_000.0


def sold(node: Node, starts_min: int = 0, power_w: float = AWARD_W) -> NodeReader:  # noqa: F811
    """Sell an hour, which twenty batteries of 5 kW and 5 kWh have and to spare."""
    state, start_ns = node.state, floor_ns(START_NS, DISPATCH_STEP_NS) + starts_min * MINUTE_NS
    state.fleet.power_w[:] = 0.0
    state.fleet.energy_available_wh[:] = 5_000.0
    name = f"a{starts_min}"
    state.awards[name] = Award(name, "o", "pool-1", "ENERGY", start_ns, start_ns + HOUR_NS, power_w, 50.0)
    return NodeReader(node, Sources(utility="works", setting="LIVE", zone="UTC"))


def told(reader: NodeReader, minute: float) -> list[AlarmView]:
    """Return the alarms of commitments as of a minute."""
    clock = reader.node.clock
    assert isinstance(clock, Wall)
    clock.ns = START_NS + int(minute * MINUTE_NS)
    reader.node.state.fleet.taken_at_ns[:] = clock.ns
    return [alarm for alarm in reader.alarms() if "Likely to give" in alarm.title]


@pytest.mark.parametrize("by_hand", [False, True], ids=["opted out", "in LOCAL"])
@pytest.mark.parametrize("starts_min", [0, 30])
def test_one_that_runs_or_begins_within_the_hour_and_is_likely_to_lack_is_told_with_its_cause_and_its_fix(
    node: Node,  # noqa: F811
    starts_min: int,
    by_hand: bool,
) -> None:
    reader = sold(node, starts_min)
    assert not any(told(reader, minute) for minute in (0, 1, 2, 3))
    state, out = node.state, np.arange(DEVICES) < 12
    if by_hand:
        state.claims.set_local(out)
        state.fleet.available_up_w[out] = 0.0
    else:
        state.opted_out[out] = True
    assert not any(told(reader, minute) for minute in (4, 5, 6)), "it has to last for three minutes"
    (alarm,) = told(reader, 7)
    assert alarm.title.startswith("Likely to give 40.0 of 60.0 kW " + ("from" if starts_min else "until"))
    cause = "foreign_control" if by_hand else "opt_out"
    assert SAYS[cause] in alarm.title and alarm.action == FIXES[cause]
    assert (alarm.priority, alarm.subject, alarm.link) == (3 if starts_min else 2, "pool-1", "/market")
    assert [each.id for each in told(reader, 8)] == [alarm.id]
    state.claims.set_local(out & False)
    state.opted_out[:] = False
    state.fleet.available_up_w[:] = np.nan
    assert [told(reader, minute) for minute in (9, 10, 11, 12)][-1][0].id == alarm.id, "it is one lack, not many"
    assert not told(reader, 13), "five minutes after the last that lacked"


def test_what_begins_later_than_in_an_hour_or_is_likely_to_be_given_calls_nobody(node: Node) -> None:  # noqa: F811
    reader = sold(node, 90)
    node.state.opted_out[:12] = True
    assert not any(told(reader, minute) for minute in range(25))
    assert not told(reader, 31) and [told(reader, minute) for minute in (32, 33, 34)][-1], "but once it is near"


SHARES = st.lists(
    st.floats(0.5, 1.1).filter(lambda share: min(abs(share - LEAST_FRAC), abs(share - STAYS_FRAC)) > 1e-9),
    min_size=1,
    max_size=40,
)


@given(SHARES)
def test_it_comes_below_nine_tenths_goes_at_92_of_100_and_is_one_alarm_meanwhile(shares: list[float]) -> None:
    """However what is likely wavers: between the two it stays as it was."""
    book, stands, since, names = AlarmBook(), False, 0, set[str]()
    for minute, share in enumerate(shares):
        now_ns = START_NS + minute * MINUTE_NS
        one = Commitment(START_NS, START_NS + HOUR_NS, AWARD_W, 50.0, 0.0, AWARD_W, share * AWARD_W, {"opt_out": 1.0})
        found, parts = likely_short([one] * 3, "pool-1", [], book.standing(), now_ns)
        kept = book.keep(found, now_ns, parts)
        is_short = share < (STAYS_FRAC if book.standing() and stands else LEAST_FRAC)
        names |= {alarm.id for alarm in kept}
        assert len(kept) <= 1 and (not kept or share < STAYS_FRAC)
        stands, since = bool(kept), since + 1 if is_short else 0
        if since * MINUTE_NS > LASTS_NS + MINUTE_NS:
            assert kept and kept[0].count == 3
    assert len(names) <= 1


def test_less_that_the_market_asks_is_no_lack_and_one_that_lacks_already_is_told_once() -> None:
    asked = Commitment(START_NS, START_NS + HOUR_NS, AWARD_W, 50.0, 0.0, 9e4, 3e4, {"iso_instruction": 3e4})
    assert likely_short([asked], "pool-1", [], {}, START_NS) == ([], [])
    short = AlarmView("s", 2, "pool-1", "Delivered 60 %", "", "", 600, "/market", 1, START_NS)
    now, later = (
        Commitment(at_ns, at_ns + HOUR_NS, AWARD_W, 50.0, 0.0, 9e4, 3e4, {"opt_out": 3e4})
        for at_ns in (START_NS, START_NS + 30 * MINUTE_NS)
    )
    found, (part,) = likely_short([now], "pool-1", [short], {}, START_NS)
    assert found == [] and isinstance(part, SuppressedAlarm) and (part.how, part.into) == ("by_cause", "s")
    ((alarm, _),), parts = likely_short([now, later], "pool-1", [short], {}, START_NS)
    assert alarm.count == 1 and alarm.priority == 3 and parts == []


def test_what_an_alarm_of_links_or_devices_tells_of_asks_for_no_second_one() -> None:
    """Unless what else lacks would be one by itself."""
    link = AlarmView("l", 2, "mqtt", "Link mqtt is down", "", "", 900, "/links", 9, START_NS)
    still = AlarmView(
        derive("alarm", "unresponsive", "fleet"), 3, "fleet", "Not responding", "", "", 9, "/", 9, START_NS
    )
    causes = tells_of([still], [link])
    assert causes == {"offline": link, "unresponsive": still, "": still}
    for lacks_w, is_told in (({"offline": 2e4}, True), ({"offline": 1e4, "opt_out": 1e4}, False), ({}, True)):
        one = Commitment(START_NS, START_NS + HOUR_NS, AWARD_W, 50.0, 0.0, 9e4, 4e4, lacks_w)
        found, parts = likely_short([one], "pool-1", [], {}, START_NS, causes)
        assert (not found, len(parts)) == (is_told, is_told)
        assert not is_told or parts[0].into == (link if lacks_w else still).id


def one_of(likely_w: float, starts_min: float, causes: dict[str, float] | None = None) -> Commitment:
    """An hour of the pool that begins so many minutes after `START_NS`."""
    at_ns = START_NS + int(starts_min * MINUTE_NS)
    return Commitment(
        at_ns, at_ns + HOUR_NS, AWARD_W, 50.0, 0.0, 9e4, likely_w, causes or {"opt_out": AWARD_W - likely_w}
    )


@given(st.floats(0.0, AWARD_W), st.floats(0.0, AWARD_W), st.floats(0.0, AWARD_W))
def test_no_more_is_said_to_lack_than_shows_and_the_next_hour_is_foreseen_less_by_what_was_wrong(
    now_w: float, next_w: float, shows_w: float
) -> None:
    """Nothing is told where all is given and dispatch finds enough; opt-outs have a part in what lacks alone."""
    near = [one_of(now_w, -10.0), one_of(next_w, 30.0)]
    runs, later = as_shown(near, shows_w, START_NS)
    lacks_w = [AWARD_W - one.likely_w for one in (runs, later) if one.likely_w is not None]
    assert lacks_w[0] == pytest.approx(min(AWARD_W - now_w, shows_w), abs=1e-6)
    assert lacks_w[1] == pytest.approx(max(AWARD_W - next_w - (AWARD_W - now_w - lacks_w[0]), 0.0), abs=1e-6)
    for one, lack_w in zip((runs, later), lacks_w, strict=True):
        assert one.lacks_w["opt_out"] == pytest.approx(lack_w, abs=1e-6)
    if shows_w <= (1.0 - STAYS_FRAC) * AWARD_W and next_w >= now_w:
        assert likely_short(near, "pool-1", [], {}, START_NS, shows_w=shows_w) == ([], [])


def test_an_hour_that_lacks_more_than_the_one_that_runs_is_told_before_it_begins() -> None:
    near = [one_of(0.9 * AWARD_W, -10.0), one_of(0.4 * AWARD_W, 30.0)]
    ((alarm, _),), _ = likely_short(near, "pool-1", [], {}, START_NS, shows_w=0.0)
    assert alarm.priority == 3 and alarm.title.startswith("Likely to give 30.0 of 60.0 kW from")
    ((alarm, _),), _ = likely_short(near[1:], "pool-1", [], {}, START_NS, shows_w=None)
    assert alarm.title.startswith("Likely to give 24.0 of 60.0 kW from"), "nothing runs that could show it"


LOOKS = st.lists(st.tuples(st.sampled_from([30, 60, 90]), st.booleans()), min_size=1, max_size=60)


@given(LOOKS)
def test_one_that_was_told_stays_till_nothing_lacked_for_five_minutes_or_it_is_over(
    looks: list[tuple[int, bool]],
) -> None:
    alarm = AlarmView("l", 2, "pool-1", "Likely", "", "", 600, "/market", 1, START_NS)
    steady, book, now_ns, last_ns, shown = Steady(), AlarmBook(), START_NS, -HOUR_NS, False
    ends_ns = START_NS + 30 * MINUTE_NS
    for seconds, lacks in looks:
        now_ns += seconds * SECOND_NS
        found = [(alarm, LASTS_NS)] if lacks and now_ns < ends_ns else []
        last_ns = now_ns if found else last_ns
        kept = book.keep(steady.keep(found, ends_ns, "l" in book.told, now_ns), now_ns)
        if shown and now_ns < ends_ns and now_ns - last_ns < HEALTHY_NS:
            assert kept, "it doesn't come and go"
        if now_ns - last_ns >= HEALTHY_NS or now_ns >= ends_ns:
            assert not kept
        shown = bool(kept)


def interval(minute: int, asked_w: float, gave_frac: float) -> IntervalTracked:
    """One of five minutes that was given in part, for no reason that is foreseen."""
    at_ns = START_NS + minute * MINUTE_NS
    none = Packed.of(np.zeros(0, np.float32))
    return IntervalTracked(
        "pool-1", at_ns, at_ns + 5 * MINUTE_NS, asked_w, asked_w * gave_frac, {}, Packed.of(np.zeros(0, np.int32)), none, 0
    )  # fmt: skip


@given(
    st.lists(st.floats(0.97, 1.03), min_size=5, max_size=30), st.floats(-1.0, 3.0), st.integers(0, 29),
    st.sampled_from([1.0, -1.0]),
)  # fmt: skip
def test_one_interval_that_is_far_from_the_others_does_not_stand_for_the_rest(
    shares: list[float], odd: float, at: int, side: float
) -> None:
    """A pool that gave all of it but once is not foreseen to give less than 97 of 100, nor to be unsure by over 7."""
    with_odd = [*shares]
    with_odd[at % len(shares)] = odd
    found = follows_of([interval(5 * k, side * 1e5, share) for k, share in enumerate(with_odd)])
    assert 0.97 <= found.mean_frac <= 1.03 and found.deviation_frac <= 0.07


@given(st.floats(0.3, 0.9), st.integers(6, 40))
def test_a_pool_that_gives_less_time_after_time_is_foreseen_to_give_less(share: float, count: int) -> None:
    found = follows_of([interval(5 * k, 1e5, share) for k in range(count)])
    assert found.mean_frac < 1.0 - 0.4 * (1.0 - share)


def test_what_was_long_ago_or_as_instructions_stepped_counts_less() -> None:
    lean, full = [interval(5 * k, 1e5, 0.8) for k in range(12)], [interval(60 + 5 * k, 1e5, 1.0) for k in range(11)]
    back = [interval(5 * k, 1e5, 1.0) for k in range(11)] + [interval(55 + 5 * k, 1e5, 0.8) for k in range(12)]
    assert follows_of([*lean, *full]).mean_frac > follows_of(back).mean_frac + 0.01
    steady = [interval(5 * k, 1e5, 0.9) for k in range(6)]
    stepped = [interval(5 * k, 1e5 if k % 2 else 5e4, 0.9) for k in range(6)]
    assert follows_of(stepped).mean_frac > follows_of(steady).mean_frac + 0.01


CAUSES = st.sampled_from(["opt_out", "unconfirmed", "unresponsive", "underperformed", "dno_limit", "rebound"])
LACKS = st.dictionaries(CAUSES, st.floats(10.0, 2e4), max_size=4)


@given(LACKS, LACKS, st.floats(0.0, AWARD_W), st.floats(0.0, 2e4))
def test_what_lacks_of_an_award_that_runs_is_put_to_the_causes_of_its_last_interval_as_far_as_it_lacked_there(
    tracked: dict[str, float], foreseen_w: dict[str, float], likely_w: float, less_w: float
) -> None:
    asked_w = AWARD_W - less_w
    one = one_of(min(likely_w, asked_w), -10.0, {**foreseen_w, "iso_instruction": less_w})
    told = as_tracked(one, tracked)
    assert told.likely_w == one.likely_w
    lacks_w, whole_w = asked_w - min(likely_w, asked_w), sum(tracked.values())
    assert told.lacks_w.get("iso_instruction", 0.0) == less_w, "what is asked less is no part of it"
    named = {cause: watts for cause, watts in told.lacks_w.items() if cause != "iso_instruction"}
    if not tracked or not lacks_w:
        assert told == one
        return
    assert sum(named.values()) <= lacks_w + 1e-6
    for cause, watts in tracked.items():
        assert named[cause] >= watts * min(lacks_w / whole_w, 1.0) - 1e-6
    if lacks_w <= whole_w:
        assert set(named) == set(tracked), "the interval says nothing of others"


def test_alarm_and_interval_say_the_same_of_a_lack_where_opt_outs_took_what_was_asked_less() -> None:
    """Of 15 kW 9 were declared less by opt-outs; of the 6 asked nothing comes as nobody does what he was told."""
    one = one_of(0.0, -10.0, {"opt_out": 59e2, "unresponsive": 1e2, "iso_instruction": AWARD_W - 6e3})
    interval_says = {"unconfirmed": 2_342.0, "unresponsive": 3_658.0}
    ((alarm, _),), _ = likely_short([one], "pool-1", [], {}, START_NS, shows_w=6e3, tracked=interval_says)
    assert alarm.title.startswith("Likely to give 0.0 of 6.0 kW until ")
    assert alarm.title.endswith(": devices not responding 100%") and alarm.action == FIXES[""]
    still = AlarmView(derive("alarm", "failed", "fleet"), 2, "fleet", "Commands failed", "", "", 9, "/", 9, START_NS)
    found, (part,) = likely_short(
        [one], "pool-1", [], {}, START_NS, tells_of([still], []), shows_w=6e3, tracked=interval_says
    )
    assert found == [] and part.into == still.id, "an alarm of those devices tells of it"
