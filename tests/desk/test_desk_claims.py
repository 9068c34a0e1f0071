"""Asks at the desk: scopes, gates, reservations, selects, bad input; the journal alone tells the same state."""

from __future__ import annotations

import asyncio
import itertools
import math

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tieline.contract.eligibility import enrol
from tieline.desk.entry import Entry
from tieline.desk.facts import ClaimsEnded, ClaimsPlaced, from_record, to_record
from tieline.desk.packed import Packed
from tieline.desk.ports import Ask, Granted
from tieline.fleet.ledger import Capacity, Ledger
from tieline.node.promises import claims_apart
from tieline.resource.admission import Principal
from tieline.resource.claim import ClaimKind, Quantity, Refusal
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import FOREVER_NS, HOUR_NS, MINUTE_NS, SECOND_NS

PANEL = Principal("panel", Level.SAFETY)


def ledger() -> Ledger:
    made = Ledger()
    made.set_capacity("pool-1", Capacity(1e6, 1e6))
    return made


def stage_of(count: int = 4, per_feeder: int = 2) -> Stage1:
    return Stage1(fleet_of([Kind.BATTERY] * count, per_feeder), ledger())


def test_a_limit_on_a_pool_and_one_on_a_feeder_in_it_both_hold_and_lifting_one_leaves_the_other() -> None:
    async def play() -> None:
        stage = stage_of()
        outer = stage.ask("dso", Level.ENVELOPE, "pool-1", ClaimKind.LIMIT, low=-2e4, high=8_000.0)
        inner = stage.ask(
            "dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-1e4, high=2_000.0, version=outer.version + 1
        )
        await stage.desk.ask(outer)
        await stage.desk.ask(inner)
        now, rows = stage.clock.ns, np.arange(4, dtype=np.int32)
        assert stage.state.claims.count() == 6
        assert stage.state.claims.arbitrate(now, rows).high_w[:2].sum() <= 2_000.0
        await stage.desk.withdraw("test:dso", "p", "feeder-1", Quantity.P, "f")
        high_w = stage.state.claims.arbitrate(now, rows).high_w
        assert high_w.sum() <= 8_000.0, "the pool's limit still holds on the feeder's devices"
        assert stage.replayed(ledger()).digest() == stage.state.digest()

    asyncio.run(play())


def test_claims_of_a_journal_from_before_scopes_are_replaced_and_withdrawn() -> None:
    async def play() -> None:
        stage = stage_of()
        ask = stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-1e4, high=2_000.0)
        await stage.desk.ask(ask)
        old = stage_of()
        for record in stage.journal.records:  # as it was written then: without a scope
            fact = from_record(record)
            if isinstance(fact, ClaimsPlaced):
                body = {f: getattr(fact, f) for f in fact.__struct_fields__ if f not in ("scope", "randomise_s")}
                record = to_record(ClaimsPlaced(**body), record.id, record.subject, record.recorded_at_ns, ())
            old.journal.records.append(record)
        old.state = old.replayed(ledger())
        old.desk.state = old.state
        assert old.state.claims.has_scope("test:dso", "p", Quantity.P, "")
        newer = Ask(
            **{f: getattr(ask, f) for f in ask.__struct_fields__} | {"version": ask.version + 1, "high": 1_000.0}
        )
        assert isinstance(await old.desk.ask(newer), Granted)
        assert old.state.claims.count() == 2
        assert await old.desk.withdraw("test:dso", "p", "feeder-1", Quantity.P, "f")
        assert old.state.claims.count() == 0

    asyncio.run(play())


@pytest.mark.parametrize(("level", "runs"), [(Level.GRID_EMERGENCY, True), (Level.UTILITY, False)])
def test_a_control_room_s_target_runs_a_barred_engine_in_an_emergency_alone(level: Level, runs: bool) -> None:
    async def play() -> None:
        fleet = fleet_of([Kind.BATTERY, Kind.BATTERY, Kind.BACKUP_GENERATOR])
        stage = Stage1(fleet)
        kinds, fuels = np.array(["battery", "battery", "backup_generator"]), np.array(["none", "none", "diesel"])
        stage.state.enrolments = {"demand_response": enrol(kinds, fuels, "US-TX", "demand_response")}
        await stage.desk.ask(stage.ask("dso", level, "pool-1", value=6_000.0))
        await stage.desk.settle()
        told_w = stage.devices.target_w
        assert (told_w[2] == 2_000.0) if runs else math.isnan(told_w[2])
        assert told_w[:2] == pytest.approx([2_000.0] * 2 if runs else [3_000.0] * 2), "the others bear its part"
        answer = await stage.desk.ask(stage.ask("dso", level, "r2", value=1_000.0))
        if runs:
            assert isinstance(answer, Granted)
        else:
            assert isinstance(answer, Refusal) and answer.value.startswith("backup_generator on diesel")

    asyncio.run(play())


def test_an_opt_out_waits_for_no_minute_of_the_fleet_limiter() -> None:
    async def play() -> None:
        stage = stage_of()
        await stage.desk.ask(stage.ask("dso", Level.MARKET, "r0", value=3_000.0))
        await stage.desk.settle()
        stage.state.limiter.system_w, stage.state.limiter.feeder_w[:] = 1.0, 1.0
        out = {"quantity": Quantity.CONNECT, "end_ns": FOREVER_NS, "source": "owner:r0"}
        await stage.desk.ask(stage.ask("owner", Level.OWNER_NEED, "r0", ClaimKind.GATE, **out))
        stage.clock.ns += SECOND_NS
        await stage.desk.settle()
        assert math.isnan(stage.devices.target_w[0])

    asyncio.run(play())


@pytest.mark.parametrize("weaker", [Level.RELIABILITY, Level.UTILITY, Level.MARKET, Level.PROGRAM, Level.PRICE])
def test_an_owners_opt_out_frees_the_device_from_whoever_called_it(weaker: Level) -> None:
    async def play() -> None:
        stage = stage_of()
        await stage.desk.ask(stage.ask("dso", weaker, "r0", value=3_000.0))
        await stage.desk.settle()
        assert stage.devices.target_w[0] == 3_000.0
        out = {"quantity": Quantity.CONNECT, "end_ns": FOREVER_NS, "source": "owner:r0"}
        await stage.desk.ask(stage.ask("owner", Level.OWNER_NEED, "r0", ClaimKind.GATE, **out))
        stage.clock.ns += SECOND_NS
        await stage.desk.settle()
        assert math.isnan(stage.devices.target_w[0])
        told = stage.state.claims.explain(0, stage.clock.ns)
        assert "gate" in told.losers[0].why
        await stage.desk.withdraw("owner:r0", "p", "r0", Quantity.CONNECT, "f")
        await stage.desk.settle()
        assert stage.devices.target_w[0] == 3_000.0, "what held before holds again"

    asyncio.run(play())


def test_a_safety_lock_out_takes_a_device_to_its_safe_power_and_an_emergency_passes_an_opt_out() -> None:
    async def play() -> None:
        stage = stage_of()
        stage.state.fleet.safe_w[:] = -100.0
        stage.desk._principals = {**stage.desk._principals, "panel": PANEL}
        await stage.desk.ask(stage.ask("dso", Level.GRID_EMERGENCY, "pool-1", value=8_000.0))
        shut = {"quantity": Quantity.CONNECT, "end_ns": FOREVER_NS}
        await stage.desk.ask(stage.ask("panel", Level.SAFETY, "r0", ClaimKind.GATE, **shut))
        await stage.desk.ask(stage.ask("owner", Level.OWNER_NEED, "r1", ClaimKind.GATE, **shut))
        settled = stage.state.claims.arbitrate(stage.clock.ns, np.arange(3, dtype=np.int32))
        assert list(settled.target_w) == [-100.0, 2_000.0, 2_000.0]

    asyncio.run(play())


def test_a_delta_draws_on_its_reservation_and_on_no_more_of_it_than_is_left() -> None:
    async def play() -> None:
        stage = stage_of()
        start = stage.clock.ns // (5 * MINUTE_NS) * 5 * MINUTE_NS
        stage.ledger.reserve("agc", "pool-1", "REG", start, start + HOUR_NS, 4_000.0, 1_000.0)
        stage.state.claims.reserved_w["agc"] = (4_000.0, 1_000.0)

        def delta(program: str, watts: float, **what: object) -> Ask:
            named = {
                "program": program,
                "reservation_id": "agc",
                "value": watts,
                "end_ns": stage.clock.ns + 300 * SECOND_NS,
            }
            return stage.ask("iso", Level.RELIABILITY, "pool-1", ClaimKind.DELTA, **{**named, **what})

        assert isinstance(await stage.desk.ask(delta("a", 3_000.0)), Granted)
        refusal = await stage.desk.ask(delta("b", 2_000.0))
        assert isinstance(refusal, Refusal)
        assert (refusal.limit, refusal.holder, refusal.rule) == ("1000 W left of 4000 W", "agc", "R8")
        assert isinstance(await stage.desk.ask(delta("c", -1_500.0)), Refusal), "down is another side"
        assert isinstance(await stage.desk.ask(delta("d", 500.0, reservation_id="none")), Refusal)
        assert isinstance(await stage.desk.ask(delta("e", 500.0, end_ns=stage.clock.ns + 3 * HOUR_NS)), Refusal)
        settled = stage.state.claims.arbitrate(stage.clock.ns, np.arange(4, dtype=np.int32))
        assert settled.target_w.sum() == pytest.approx(3_000.0)

    asyncio.run(play())


def test_a_select_keeps_out_others_of_its_interface_and_level_for_5_s_and_never_a_stronger_one() -> None:
    async def play() -> None:
        stage = stage_of()
        assert stage.desk.select("test:dso", "r0", Quantity.P, Level.UTILITY) is None
        assert stage.desk.select("test:iso", "r0", Quantity.P, Level.UTILITY).holder == "test:dso"
        refusal = await stage.desk.ask(stage.ask("iso", Level.UTILITY, "r0", value=1.0))
        assert isinstance(refusal, Refusal)
        assert (refusal.rule, refusal.holder) == ("R13", "test:dso")
        assert isinstance(
            await stage.desk.ask(stage.ask("iso", Level.RELIABILITY, "r0", value=1.0, program="q")), Granted
        )
        other = stage.ask("iso", Level.UTILITY, "r0", value=1.0, source="web:iso")
        assert isinstance(await stage.desk.ask(other), Granted), "another interface"
        stage.clock.ns += 5 * SECOND_NS
        assert isinstance(await stage.desk.ask(stage.ask("iso", Level.UTILITY, "r0", value=1.0)), Granted)
        assert stage.desk.select("test:dso", "nothing", Quantity.P, Level.UTILITY).field == "resource"

    asyncio.run(play())


def test_what_no_link_carries_is_refused_and_not_promised() -> None:
    async def play() -> None:
        stage = stage_of()
        refusal = await stage.desk.ask(stage.ask("dso", Level.UTILITY, "r0", quantity=Quantity.Q, value=1.0))
        assert isinstance(refusal, Refusal)
        assert (refusal.field, refusal.rule) == ("quantity", "R10")

    asyncio.run(play())


def test_a_device_in_local_holds_remote_claims_and_says_so_while_limits_of_the_grid_apply() -> None:
    async def play() -> None:
        stage = stage_of()
        await stage.desk.ask(stage.ask("market", Level.MARKET, "r0", value=3_000.0))
        await stage.desk.ask(stage.ask("dso", Level.ENVELOPE, "r0", ClaimKind.LIMIT, low=-9e3, high=1_000.0))
        local = np.array([True, False, False, False])
        assert stage.state.claims.set_local(local) == 1
        await stage.desk.settle()
        told = stage.state.claims.explain(0, stage.clock.ns)
        assert (told.setpoint.target_w, told.setpoint.bounds.high_w) == (0.0, 1_000.0)
        assert [lost.why for lost in told.losers] == ["held: the device is in LOCAL"]
        assert math.isnan(stage.devices.target_w[0])
        stage.state.claims.set_local(~local & False)
        await stage.desk.settle()
        assert stage.devices.target_w[0] == 1_000.0

    asyncio.run(play())


# --- a function of what was asked -----------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_order_duplicates_and_entry_path_never_change_what_is_in_force(seed: int) -> None:
    """The same asks, shuffled and repeated, through any peer's link: the same setpoints, winners and books."""
    rng = np.random.default_rng(seed)
    asks: list[tuple[str, Level, str, ClaimKind, dict]] = []
    for n in range(8):
        kind = ClaimKind.SET if rng.random() < 0.5 else ClaimKind.LIMIT
        low, high = np.sort(rng.integers(-50, 51, 2) * 100.0).tolist()
        resource = ["pool-1", "feeder-1", "feeder-2", "r0", "r3"][rng.integers(5)]
        what = {
            "program": f"p{n}",
            "value": float(rng.integers(-50, 51) * 100),
            "low": low,
            "high": high,
            "version": n + 1,
        }
        asks.append(("dso", Level(int(rng.integers(2, 11))), resource, kind, what))

    async def play(order: list[int]) -> list:
        stage = stage_of()
        for n in order:
            who, level, resource, kind, what = asks[n]
            await stage.desk.ask(stage.ask(who, level, resource, kind, **what))
        settled = stage.state.claims.arbitrate(stage.clock.ns, np.arange(4, dtype=np.int32))
        names = [stage.state.claims.batch_ids(settled.winner[k : k + 1]) for k in range(4)]
        return [settled.target_w.tolist(), settled.low_w.tolist(), settled.high_w.tolist(), names]

    first = asyncio.run(play(list(range(8))))
    for _ in range(3):
        order = rng.permutation(8).tolist()
        assert asyncio.run(play([*order, *order[:4]])) == first


def test_the_newest_version_holds_in_whatever_order_versions_come() -> None:
    async def play(order: tuple) -> float:
        stage = stage_of()
        now = stage.clock.ns
        for version in order:
            await stage.desk.ask(stage.ask("market", Level.MARKET, "r0", value=100.0 * version, version=now + version))
        return float(stage.state.claims.arbitrate(now, np.array([0], np.int32)).target_w[0])

    assert {asyncio.run(play(order)) for order in itertools.permutations((1, 2, 3))} == {300.0}


# --- bad input --------------------------------------------------------------------------------------------------------

ODD = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 1e308, -1e308, 5e-324, 1.0, -1.0, 2.0, 12.0])
INSTANTS = st.one_of(st.integers(-(2**70), 2**70), st.integers(0, 10**12))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["dso", "owner", "nobody", ""]), st.sampled_from(list(Level)),
    st.sampled_from(["r0", "feeder-1", "pool-1", "", "ghost", "r0\x00"]), st.sampled_from(list(ClaimKind)),
    st.sampled_from(list(Quantity)), ODD, ODD, ODD, INSTANTS, INSTANTS, INSTANTS, ODD,
)  # fmt: skip
def test_bad_input_is_refused_by_field_or_placed_whole_and_never_half(
    who, level, resource, kind, quantity, low, high, value, start, end, version, randomise
) -> None:
    async def play() -> None:
        stage = stage_of()
        now = stage.clock.ns
        ask = stage.ask(
            who, level, resource, kind, quantity=quantity, low=low, high=high, value=value, start_ns=start + now,
            end_ns=end + now, version=version, randomise_s=randomise,
        )  # fmt: skip
        answer = await stage.desk.ask(ask)
        placed = stage.state.claims.count()
        if isinstance(answer, Refusal):
            assert answer.reason
            assert answer.field
            assert placed == 0
            assert [record.kind for record in stage.journal.records] == ["AskRefused"]
        else:
            assert placed == len(stage.state.fleet.leaves(resource))
        again = await stage.desk.ask(ask)
        assert again == answer, "the same ask twice gets the first answer"
        settled = stage.state.claims.arbitrate(now, np.arange(4, dtype=np.int32))
        assert np.isfinite(settled.target_w).all()
        assert stage.replayed(ledger()).digest() == stage.state.digest()

    asyncio.run(play())


def test_an_old_end_of_claims_still_decodes() -> None:
    fact = ClaimsEnded("s", "p", "P", "cancelled", "b", Packed.of(np.array([1], np.int32)))
    assert from_record(to_record(fact, "x", "", 0, ())) == fact


Turn = tuple[int, int, int, int, bool]  # version, minutes that it holds, first row, minutes till the next, a beat then


@given(
    turns=st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(0, 2), st.integers(0, 4), st.booleans()),
        min_size=1, max_size=12,
    )
)  # fmt: skip
@example(turns=[(4, 1, 0, 2, True), (1, 6, 0, 0, False)])  # a newer version ran out, then an older one comes
@settings(max_examples=200, deadline=None)
def test_what_holds_after_claims_ran_out_is_the_same_whenever_a_beat_came_by(turns: list[Turn]) -> None:
    async def play() -> None:
        stage, silent = stage_of(), stage_of()
        for at, (version, minutes, first, passes, beats) in enumerate(turns):
            for each in (stage, silent):
                now_ns, rows = each.clock.ns, np.arange(first, first + 2, dtype=np.int32)
                placed = ClaimsPlaced(
                    f"claims:{at}", "test:market", "market", "p", int(Level.MARKET), 0, "P", "set", "", version,
                    now_ns, now_ns, now_ns + minutes * MINUTE_NS, Packed.of(rows), Packed.of(np.full(2, -np.inf)),
                    Packed.of(np.full(2, np.inf)), Packed.of(np.full(2, 100.0)),
                )  # fmt: skip
                await each.desk.commit([Entry(f"claims:{at}", placed, "")])
                each.clock.ns += passes * MINUTE_NS
            if beats:
                await stage.desk.settle()
        told = stage.replayed(ledger())
        for state in (stage.state, silent.state, told):
            state.claims.expire(stage.clock.ns)
            assert state.claims.count() + sum(state.claims.ends.values()) == state.claims.placed, "each ended once"
        assert told.claims.digest() == stage.state.claims.digest() == silent.state.claims.digest()

    asyncio.run(play())


def test_a_replay_that_differs_names_the_batch_and_how_many_of_it_live() -> None:
    async def play() -> None:
        stage = stage_of()
        await stage.desk.ask(stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-1e4, high=2_000.0))
        live, told = stage.state.claims, stage.replayed(ledger()).claims
        assert claims_apart(live, told) == []
        told.cancel("test:dso", "p", Quantity.P, np.array([0], np.int32))
        (said,) = claims_apart(live, told)
        assert "by test:dso p feeder-1 version" in said
        assert ": 2 and 1 of 2 live, till " in said

    asyncio.run(play())
