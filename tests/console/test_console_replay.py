"""Replay: a past instant shows what was known then, decisions and measurements alike, and nothing later."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from console_stage import Running

from tieline.desk.state import DeskState
from tieline.fleet.claims import ClaimBook
from tieline.fleet.ledger import Ledger
from tieline.node.read_past import JournalThen
from tieline.node.record import BYTES_A_ROW, Recorder, state_at
from tieline.times import MINUTE_NS, iso


def test_a_past_instant_is_known_as_it_was(running: Running) -> None:
    """In the middle of the kept afternoon: power, claims and awards are those of then, and so is each screen's time."""
    record = running.console.reader.record
    frame = record.frames[len(record.frames) // 2]
    with running.client("ann") as client:
        span = client.get("/api/v1/past").json()
        assert span["first_ns"] <= frame.at_ns <= span["last_ns"]
        as_of = {"as_of": str(frame.at_ns)}
        shell = client.get("/api/v1/shell", params=as_of).json()
        overview = client.get("/api/v1/overview", params=as_of).json()
        assert (shell["now_ns"], shell["journal_seq"]) == (frame.at_ns, frame.seq)
        assert overview["net_w"] == pytest.approx(float(np.nansum(frame.power_w)), rel=1e-5)
        name = running.stage.node.state.fleet.ids[5]
        then = client.get(f"/api/v1/resources/{name}", params=as_of).json()
        assert then["scada"]["power_w"] == pytest.approx(float(frame.power_w[5]), abs=1e-3)
        assert all(claim["start_ns"] <= frame.at_ns for claim in then["claims"])
        rows = client.get("/api/v1/audit", params={**as_of, "count": "5"}).json()["rows"]
        assert rows[0]["seq"] == frame.seq
        for path in ("series", "fleet", "alarms", "events", "market", "settlement", "feeders/feeder-01", "links"):
            assert client.get(f"/api/v1/{path}", params=as_of).status_code == 200, path
        series = client.get("/api/v1/series", params=as_of).json()
        assert max(series["at_ns"]) <= frame.at_ns


def test_the_past_tells_the_delivery_that_was_known_then_to_the_watt(running: Running) -> None:
    """While some are called and others that were let go take back what they missed: screen, replay and chart agree."""
    frames = [
        frame
        for frame in running.console.reader.record.frames
        for shares_w in (np.abs(next(iter(frame.shares.values()))) > 1.0,)
        if shares_w.any() and (frame.rebounds_until_ns > frame.at_ns).sum() > shares_w.sum()
    ]
    assert len(frames) >= 6
    with running.client("ann") as client:
        live = client.get("/api/v1/series").json()
        told_w = dict(zip(live["at_ns"], live["delivered_w"], strict=True))
        for frame in frames[:: len(frames) // 6]:
            as_of = {"as_of": str(frame.at_ns)}
            then = client.get("/api/v1/overview", params=as_of).json()
            assert then["delivered_w"] == pytest.approx(told_w[frame.at_ns], abs=1.0)
            assert client.get("/api/v1/series", params=as_of).json()["delivered_w"][-1] == told_w[frame.at_ns]


def test_nothing_is_done_in_the_past_and_nothing_shown_that_was_not_kept(running: Running) -> None:
    first_ns = running.console.reader.record.frames[0].at_ns
    with running.client("ann") as client:
        early = client.get("/api/v1/overview", params={"as_of": str(first_ns - 1)})
        assert (early.status_code, early.json()["field"]) == (409, "as_of")
        assert client.get("/api/v1/overview", params={"as_of": "x"}).status_code == 422
        act = client.post("/api/v1/kill", params={"as_of": str(first_ns)}, json={"pressed": True, "because": "not now"})
        assert (act.status_code, act.json()["field"]) == (422, "as_of")
        assert client.get("/api/v1/shell").json()["is_killed"] is False


def test_why_of_a_past_instant_is_asked_for_by_the_name_of_the_command_line_as_well(running: Running) -> None:
    """`at` is another name of `as_of` there, and refused where it is none; two different instants are no question."""
    frames = running.console.reader.record.frames
    first_ns, at_ns = frames[0].at_ns, frames[len(frames) // 2].at_ns
    path = f"/api/v1/resources/{running.stage.node.state.fleet.ids[5]}/why"
    with running.client("ann") as client:
        then = client.get(path, params={"as_of": str(at_ns)}).json()
        assert then["told"]["at"] == iso(at_ns)
        for asked in ({"at": str(at_ns)}, {"at": iso(at_ns)}, {"at": iso(at_ns), "as_of": str(at_ns)}):
            assert client.get(path, params=asked).json() == then
        two = client.get(path, params={"at": str(at_ns), "as_of": str(first_ns)})
        assert (two.status_code, two.json()["field"]) == (422, "as_of and at")
        for text, status in (("x", 422), (str(first_ns - 1), 409)):
            refused = client.get(path, params={"at": text})
            assert (refused.status_code, refused.json()["field"]) == (status, "at")
        for elsewhere, limit in (("overview", "one of as_of"), ("resources/nobody/why?bogus=1", "one of at, as_of")):
            unknown = client.get(f"/api/v1/{elsewhere}", params={"bogus": "1"} if "?" in elsewhere else {"at": "1"})
            assert (unknown.status_code, unknown.json()["limit"]) == (422, limit)
        api = client.get("/api/v1/openapi.json").json()["paths"]["/api/v1/resources/{resource}/why"]["get"]
        named = {one["name"]: one["description"] for one in api["parameters"] if one["in"] == "query"}
        assert list(named) == ["at", "as_of"] and "as_of" in named["at"]


def test_the_decisions_of_then_are_those_of_a_replay_cut_at_its_record(running: Running) -> None:
    """Against a second way: all facts up to the record, applied to an empty state, have the same digest."""
    from tieline.desk.apply import apply
    from tieline.desk.facts import from_record

    node, record = running.stage.node, running.console.reader.record
    frame = record.frames[len(record.frames) // 3]

    async def both() -> tuple[str, str]:
        then = state_at(node.state, node.journal, frame)
        other = DeskState.empty(node.state.fleet, ClaimBook(node.state.fleet), Ledger())
        for kept in JournalThen(node.journal, frame.seq).replay():
            fact = from_record(kept)
            if fact is not None:
                apply(other, kept.id, fact, kept.recorded_at_ns)
        other.claims.expire(frame.at_ns)
        return then.digest(), other.digest()

    one, two = asyncio.run_coroutine_threadsafe(both(), running.loop).result(60)
    assert one == two


def test_frames_keep_within_their_budget_and_reach_back_to_the_beginning(running: Running) -> None:
    node = running.stage.node
    each = len(node.state.fleet) * BYTES_A_ROW
    record = Recorder(10 * each)
    for minute in range(200):
        if record.is_due(minute * MINUTE_NS):
            record.keep(node.state, node.cycle.pools, {}, (), minute, minute * MINUTE_NS)
        assert len(record.frames) * each <= 10 * each
        assert record.frames[-1].at_ns > minute * MINUTE_NS - record.step_ns
    assert record.frames[0].at_ns <= record.step_ns
    steps = np.diff([frame.at_ns for frame in record.frames])
    assert steps.max() <= 2 * record.step_ns
    assert Path(node.journal.path).exists()
