"""Event performance, fairness and the scorecard: identities over drawn events, and cases found by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from settled_made import START_NS, STEP_NS, settled_event

from tieline.pool.performance import by_event, by_group, fairness, followed, in_all
from tieline.pool.scorecard import bars, months_held, scorecard
from tieline.pool.season import Season
from tieline.pool.settled import Part, Settled, Step
from tieline.times import DAY_NS, HOUR_NS

Tieline = Callable[..., dict[str, Any]]
KWH = st.floats(-5, 20).map(lambda x: round(x, 6))


def part(meter: str, gained: list[float], sold: list[float], cause: str = "offline", start_ns: int = START_NS) -> Part:
    """Return a meter with its lack found interval by interval."""
    lacks = sum(max(owed - gave, 0.0) for owed, gave in zip(sold, gained, strict=True))
    steps = tuple(Step(start_ns + k * STEP_NS, gave + 1, 1.0, gave) for k, gave in enumerate(gained))
    return Part(
        meter=meter, owner=meter, customer=meter[:1], feeder=f"f{len(meter) % 2}", days=(), weights=(), excluded=(),
        factor=1.0, addend=0.0, is_capped=False, input_hash="", flags=(), steps=steps, adjustment_kwh=0.0,
        rebound_kwh=0.5, committed_kwh=sum(sold), lacks_kwh={cause: lacks} if lacks > 0 else {},
    )  # fmt: skip


def event(parts: list[Part], sold_mw: float = 4.0, start_ns: int = START_NS, program: str = "peak") -> Settled:
    """Return an event of these meters."""
    count = len(parts[0].steps)
    base = settled_event(
        [sold_mw] * count, [50.0] * count, {"x": 1.0}, sold_mw=sold_mw, start_ns=start_ns, program=program
    )
    return replace(base, parts=tuple(parts))


METER = st.tuples(
    st.text("abc", min_size=1, max_size=3), st.lists(st.tuples(KWH, st.floats(0, 9)), min_size=2, max_size=2)
)


@given(st.lists(st.lists(METER, min_size=1, max_size=4, unique_by=lambda m: m[0]), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_delivered_is_sold_less_what_lacked_and_more_what_was_over_and_groups_are_all(drawn) -> None:
    events = [
        event(
            [
                part(name, [g for g, _ in steps], [s for _, s in steps], start_ns=START_NS + k * DAY_NS)
                for name, steps in meters
            ],
            start_ns=START_NS + k * DAY_NS,
        )
        for k, meters in enumerate(drawn)
    ]
    whole = in_all(events)
    for scores in (
        by_event(events),
        *(by_group(events, lambda e, p, n=name: getattr(p, n)) for name in ("customer", "feeder")),
    ):
        for score in scores:
            lacking = sum(score.lacks_kwh.values())
            assert score.delivered_kwh == pytest.approx(score.committed_kwh - lacking + score.surplus_kwh, abs=1e-6)
            assert score.surplus_kwh >= -1e-5 and lacking >= 0
        for name in ("committed_kwh", "baseline_kwh", "delivered_kwh", "surplus_kwh", "rebound_kwh"):
            assert sum(getattr(s, name) for s in scores) == pytest.approx(getattr(whole, name), abs=1e-6)


def test_an_excused_cause_counts_as_delivered_and_others_do_not() -> None:
    both = replace(part("a", [2.0], [10.0]), lacks_kwh={"dno_limit": 3.0, "opt_out": 5.0})
    score = in_all([event([both])])
    assert (score.performance, score.excused_performance) == (pytest.approx(0.2), pytest.approx(0.5))
    assert score.snapback == pytest.approx(0.25)  # half a kilowatt-hour came back of two


def test_a_group_that_sold_nothing_has_no_performance() -> None:
    score = in_all([event([part("a", [1.0], [0.0])])])
    assert (score.performance, score.excused_performance) == (None, None)


def test_calls_fall_evenly_or_on_one_customer_and_those_never_called_count() -> None:
    """By the definition: of two, one with all has (2 x 2 - 2 - 1) / 2 = 0.5; of four, one with all has 0.75."""
    one = event([part("a", [1.0], [1.0])])
    assert fairness([one, one]).gini == 0.0
    assert fairness([one], ["a", "b"]).gini == pytest.approx(0.5)
    found = fairness([one], ["b", "c", "d"])
    assert found.gini == pytest.approx(0.75)
    assert (found.calls["a"], found.hours["a"], found.hours["d"]) == (1, pytest.approx(1 / 12), 0.0)
    assert fairness([event([part("a", [1.0], [0.0])])], ["a"]).calls == {"a": 0}  # nothing was asked of it


def shaped(gained: list[float], mw: list[float], start_ns: int = START_NS) -> Settled:
    """Return an event with an award an hour, and what was gained in each hour (kWh)."""
    whole = settled_event([1.0] * 12 * len(mw), [50.0] * 12 * len(mw), {"x": 1.0}, start_ns=start_ns)
    first = whole.lines[0]
    lines = [
        replace(
            first, id=str(k), start_ns=start_ns + k * HOUR_NS, end_ns=start_ns + (k + 1) * HOUR_NS, energy_wh=each * 1e6
        )
        for k, each in enumerate(mw)
    ]
    steps = tuple(Step(start_ns + k * HOUR_NS, 0.0, 0.0, gave) for k, gave in enumerate(gained))
    held = replace(part("a", [0.0], [0.0]), steps=steps)
    return replace(whole, step_ns=HOUR_NS, lines=tuple(lines), parts=(held,), end_ns=start_ns + len(mw) * HOUR_NS)


def test_following_is_the_error_over_what_was_sold_and_a_block_ends_where_a_tenth_lacks() -> None:
    flat = followed(shaped([1000.0] * 5, [1.0] * 5))
    assert (flat.error, flat.held_h, flat.is_shaped) == (0.0, 5.0, False)
    # Off by 100, 0, 300 of 1000, 2000, 3000: sqrt((100^2 + 300^2) / 3) / 2000.
    off = followed(shaped([900.0, 2000.0, 2700.0], [1.0, 2.0, 3.0]))
    assert off.error == pytest.approx(np.sqrt((100**2 + 300**2) / 3) / 2000)
    assert (off.held_h, off.is_shaped) == (3.0, True)
    assert followed(shaped([899.0, 2000.0, 2699.0], [1.0, 2.0, 3.0])).held_h == 1.0


def test_a_fleet_that_does_what_a_peaker_does_meets_every_bar_and_one_that_does_not_misses_them() -> None:
    first_ns, month_ns = START_NS + 15 * DAY_NS, 30 * DAY_NS
    good = [shaped([1000.0, 2000.0, 3000.0, 1000.0], [1.0, 2.0, 3.0, 1.0], first_ns + k * month_ns) for k in range(12)]
    assert len(months_held(good)) == 12
    marks = {mark.name: mark for mark in scorecard(good, np.full(100, 299.0))}
    assert all(mark.is_met for mark in marks.values())
    poor = [shaped([1000.0, 500.0, 3000.0, 1000.0], [1.0, 2.0, 3.0, 1.0])]
    found = {mark.name: mark for mark in scorecard(poor, np.array([1.0] * 94 + [900.0] * 6))}
    assert [found[name].is_met for name in ("telemetry", "shape", "block", "year")] == [False, False, False, False]


def test_what_was_not_measured_is_not_met_and_says_so() -> None:
    marks = {mark.name: mark.is_met for mark in scorecard([shaped([1000.0], [1.0])])}
    assert marks == {"telemetry": None, "shape": None, "block": False, "year": False}
    assert all(bar.source and bar.ours and bar.certainty for bar in bars().values())


def test_a_report_has_every_event_group_cause_and_mark() -> None:
    document = Season([event([part("a", [0.2], [0.3]), part("b", [0.3], [0.3])])], ["a", "b", "z"]).document()
    tables = {table.section: table for table in document.tables}
    assert {"event", "program", "feeder", "customer", "event_cause", "calls", "following", "peaker"} <= set(tables)
    assert [row[0] for row in tables["calls"].rows] == ["a", "b", "z"]
    assert tables["event_cause"].rows[0][1:3] == ("offline", "no")


def test_the_verb_reports_the_files_events_by_feeder_and_customer(
    opened: Tieline, issue: tuple[str, ...], folder: Path
) -> None:
    """Of 112 kWh sold: b opted out of 12 and was held from 1 by the grid operator, c was not read for 4."""
    opened(*issue, "--at", "2024-08-02T00:00:00Z")
    (folder / "late.csv").write_text("start,received_at\n2024-07-31T16:00:00-07:00,2024-07-31T16:02:00-07:00\n")
    told = opened(
        "performance", "--book", "book", "--telemetry", "late.csv", "--out", "season.html", "--out", "season.csv"
    )
    one = told["events"][0]
    assert one["committed_kwh"] == pytest.approx(112.0)
    assert one["lacks_kwh"] == pytest.approx(
        {"dno_limit": 1.0, "no_meter_data": 4.0, "opt_out": 12.0, "underperformed": 3.0}, abs=0.05
    )
    assert {row["name"]: row["customer"] if "customer" in row else row["events"] for row in told["by_feeder"]} == {
        "f1": 1,
        "f2": 1,
    }
    by_customer = {row["name"]: row["lacks_kwh"] for row in told["by_customer"]}
    assert set(by_customer["n"]) == {"no_meter_data"} and "opt_out" in by_customer["s"]
    assert {mark["mark"]: mark["value"] for mark in told["peaker"]}["telemetry"] == 120.0
    assert (folder / "season.html").read_text().count("<h2>") >= 10


def test_causes_of_the_pool_as_a_whole_explain_each_meters_part(
    opened: Tieline, issue: tuple[str, ...], folder: Path
) -> None:
    (folder / "causes.csv").write_text("start,cause,kw\n2024-07-31T18:00:00-07:00,offline,14\n")
    opened(*issue, "--at", "2024-08-02T00:00:00Z")
    lacks = opened("performance", "--book", "book")["by_customer"]
    assert lacks[1]["lacks_kwh"]["offline"] == pytest.approx(14 * 104 / 182, abs=0.05)  # b's part of all baselines


BAD = [
    (("--from", "soon"), "--from 'soon'"),
    (("--from", "2024-08-02", "--until", "2024-08-01"), "--until 2024-08-01"),
    (("--from", "2025-01-01"), "no event of these days"),
    (("--program", "other"), "it has peak 2024-07-31"),
    (("--telemetry", "early.csv"), "row 2: received_at"),
    (("--out", "x.doc"), "give .html, .pdf, .xlsx, .csv"),
]


@pytest.mark.parametrize(("words", "says"), BAD)
def test_what_can_not_be_reported_is_refused(
    opened: Tieline, issue: tuple[str, ...], folder: Path, words: tuple[str, ...], says: str
) -> None:
    opened(*issue, "--at", "2024-08-02T00:00:00Z")
    (folder / "early.csv").write_text("start,received_at\n2024-07-31T16:00:00-07:00,2024-07-31T15:00:00-07:00\n")
    assert says in opened("performance", "--book", "book", *words, code=2)["error"]
