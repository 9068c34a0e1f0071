"""An ISO's instruction that is cut by revisions is followed whole or not at all, and each instant by the newest accepted."""

from __future__ import annotations

import asyncio

from desk_stage import START_NS, Stage1, fleet_of
from hypothesis import given
from hypothesis import strategies as st

from tieline.desk.obligation import instruction_at
from tieline.desk.ports import Award, Offer, Segment
from tieline.links.grid.iso_batches import Batches
from tieline.resource.identity import Kind
from tieline.times import HOUR_NS, MINUTE_NS, from_ns
from tieline.wire.ads import messages as ads

HOUR = START_NS // HOUR_NS * HOUR_NS + HOUR_NS
EARLY = HOUR - 10 * MINUTE_NS
MOST_W = (16_000.0, 8_000.0)


def stage_of_two_hours() -> Stage1:
    """Four stores that sold 16 kW of one hour and 8 kW of the next."""
    stage = Stage1(fleet_of([Kind.BATTERY] * 4))
    stage.clock.ns = EARLY
    for at, most_w in enumerate(MOST_W):
        start_ns = HOUR + at * HOUR_NS
        over = "pool-1", "ENERGY", start_ns, start_ns + HOUR_NS
        stage.state.offers[f"o{at}"] = Offer(f"o{at}", *over, (Segment(most_w, 50.0),))
        stage.state.awards[f"a{at}"] = Award(f"a{at}", f"o{at}", *over, most_w, 50.0)
    return stage


def wire(uid: int, revision: int, *segments: tuple[int, int, float]) -> ads.DispatchBatch:
    """A batch of one instruction: segments of (from minute, to minute, kW) within the two hours."""
    sent, expires = from_ns(EARLY), from_ns(HOUR + 3 * HOUR_NS)
    parts = tuple(
        ads.Segment(from_ns(HOUR + a * MINUTE_NS), from_ns(HOUR + b * MINUTE_NS), kw / 1e3) for a, b, kw in segments
    )
    one = ads.Instruction(f"i{uid}", "TL", "ENERGY", 20.0, parts)
    return ads.DispatchBatch(str(uid), "RT5", "ACTIVE", sent, expires, "RTD", sent, "NORMAL", True, revision, (one,))


def told(stage: Stage1, sent: list[ads.DispatchBatch]) -> list[str]:
    """Bring batches to the desk through the link's own sorting; return what the ISO is answered to each."""
    batches, words = Batches({"pool-1": "TL"}, "iso", "iso_web"), []

    async def act() -> None:
        for each in sent:
            made = batches.sort(each, "f", "", EARLY)
            answer = await stage.desk.dispatch(made.batch) if made.batch is not None else None
            reply = batches.settle(each, made, answer)
            batches.remember(reply)
            words.append(reply.replies[0].response)

    asyncio.run(act())
    return words


def asked_kw(stage: Stage1, minute: float) -> float | None:
    found = instruction_at(stage.state, "pool-1", HOUR + int(minute * MINUTE_NS))
    return None if found is None else found.power_w / 1e3


spans = st.tuples(st.sampled_from(range(40, 70, 5)), st.sampled_from((5, 10, 15, 25))).map(lambda t: (t[0], sum(t)))
batch = st.tuples(st.integers(1, 3), spans, st.sampled_from([0.0, 4.0, 8.0, 12.0, 16.0]))


@given(st.lists(batch, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_what_is_declined_has_no_effect_and_each_instant_goes_by_the_newest_that_was_accepted(made, random) -> None:
    stage = stage_of_two_hours()
    sent = [wire(uid, revision, (*span, kw)) for uid, (revision, span, kw) in enumerate(made, 1)]
    random.shuffle(sent)
    words = told(stage, sent)
    accepted = [each for each, word in zip(sent, words, strict=True) if word == "ACCEPT"]
    for minute in range(35, 100, 5):
        at = from_ns(HOUR + minute * MINUTE_NS)
        covering = [
            (each.revision_no, int(each.batch_uid), part.mw * 1e3)
            for each in accepted for part in each.instructions[0].segments if part.start_time <= at < part.end_time
        ]  # fmt: skip
        assert asked_kw(stage, minute) == (max(covering)[2] if covering else None), minute


def test_a_piece_beyond_what_was_sold_declines_the_whole_and_what_held_goes_on() -> None:
    stage = stage_of_two_hours()
    assert told(stage, [wire(1, 9, (58, 59, 8.0)), wire(2, 1, (55, 65, 12.0))]) == ["ACCEPT", "DECLINE"]
    assert [asked_kw(stage, minute) for minute in (56, 58, 59.5, 61)] == [None, 8.0, None, None]


def test_of_one_revision_the_later_batch_holds_whichever_comes_first_and_the_rest_of_the_other_stands() -> None:
    first, cut, later = wire(1, 1, (7, 15, 10.0)), wire(2, 2, (9, 12, 12.0)), wire(3, 1, (7, 13, 6.0))
    for sent in ([first, cut, later], [later, cut, first]):
        stage = stage_of_two_hours()
        assert told(stage, sent) == ["ACCEPT"] * 3
        assert [asked_kw(stage, minute) for minute in (7, 9, 12, 13, 14.9)] == [6.0, 12.0, 6.0, 10.0, 10.0]


def test_an_instruction_of_which_one_segment_was_not_sold_is_declined_whole() -> None:
    stage = stage_of_two_hours()
    assert told(stage, [wire(1, 1, (0, 5, 8.0), (60, 65, 9.0))]) == ["DECLINE"]
    assert (asked_kw(stage, 1), asked_kw(stage, 61)) == (None, None)
    assert told(stage, [wire(2, 1, (0, 5, 8.0), (60, 65, 8.0))]) == ["ACCEPT"]
