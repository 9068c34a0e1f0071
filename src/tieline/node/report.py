"""The story's report: computed from the journal and from what the world did."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np

from tieline.desk.facts import AskGranted, BatchTaken, CommandsIssued, CommandsReported, PositionChanged, from_record
from tieline.desk.settle import Settlement
from tieline.flow.record import Record
from tieline.ids import derive
from tieline.links.grid.dnp3.outstation import Dnp3Outstation
from tieline.links.life import Counts
from tieline.market.baseline import Baseline
from tieline.node.gap import counted_h, gap_of
from tieline.node.iso_report import iso_report
from tieline.node.lineage import followed
from tieline.node.promises import of_journal, promises
from tieline.node.promises_replay import ReadsAlong
from tieline.node.settling import tracked_of
from tieline.node.stage import POLL_S, POOL, Stage
from tieline.node.story import Story, Told
from tieline.node.works import grant_of
from tieline.resource.claim import Refusal
from tieline.resource.command import Stage as Life
from tieline.rim.supervise import Supervisor
from tieline.times import SECOND_NS, iso, to_ns

LATE_S = 5.0
"""A device that answers later than this is told by itself: one slow path says nothing about the others."""


def report(stage: Stage, story: Story, settled: Settlement | Refusal | None, seed: int) -> dict[str, Any]:
    """Return the whole story as JSON-ready data."""
    told, settlement = story.told, settled if isinstance(settled, Settlement) else None
    records = list(stage.node.journal.replay())
    share, chain = _trace(stage, records, settlement)
    override = override_of(told, records)
    kept = promises(stage, told, story.dno, settled, records, share, override)
    return {
        "seed": seed,
        "scenario": stage.scenario.name,
        "day": stage.day.isoformat(),
        # Over sockets, played faster than life, bounds in seconds (told upward, the ISO's clock) are the wall clock's.
        "clock": {"speed": stage.speed, "bounds_in_seconds_of": "story" if stage.speed == 1.0 else "wall"},
        "devices": len(stage.territory.fleet),
        "feeders": len(stage.territory.feeders),
        "iso": iso_report(stage.iso, stage.day),
        "awards": _awards(stage),
        "dispatch": _dispatch(stage),
        "schedules": _schedules(stage),
        "available": _available(stage),
        "override": override,
        "opt_out": _with_times(told.opt_out),
        "restored": _with_times(told.restored),
        "refusals": told.refusals,
        "hops": _hops(stage, records),
        "trace": {"share": share, "chains": chain},
        "settlement": {"unsettled": str(settled)} if isinstance(settled, Refusal) else _money(stage, settlement),
        "promises": kept,
    }


def broke(supervisor: Supervisor, told: Told) -> dict[str, int]:
    """Return how often each task failed by its own fault, and which scenes could not be played.

    Links that the faulty network took don't count.
    """
    lost, failures = supervisor.losses, supervisor.failures
    own = {name: count - lost.get(name, 0) for name, count in failures.items() if count > lost.get(name, 0)}
    return own | {f"scene {name}: {why}": 1 for name, why in told.unplayed.items()}


def losses(supervisor: Supervisor, outstation: Dnp3Outstation) -> dict[str, int]:
    """Return how often each link was lost, and how often what a master held lapsed by that."""
    return {**supervisor.losses, **{f"lapsed: {name}": count for name, count in outstation.lapses().items()}}


def ended(stage: Stage, result: dict[str, Any], along: ReadsAlong | None = None) -> dict[str, Any]:
    """Return a report with the promises on the journal, how many records it holds, and the hash of the last.

    To be asked once nothing is recorded any more, so that all of them count the same records: `tieline replay` prints
    the same of the folder that is left. The last hash stands for all before it.
    """
    kept = [*of_journal(stage, along), *result["promises"]]
    return result | {
        "promises": kept, "held": all(promise["held"] for promise in kept),
        "records": stage.node.journal.last_seq, "digest": stage.node.journal.last_hash.hex(),
    }  # fmt: skip


def _awards(stage: Stage) -> list[dict[str, Any]]:
    awards = sorted(stage.node.state.awards.values(), key=lambda award: award.start_ns)
    return [
        {
            "id": a.id, "start": iso(a.start_ns), "end": iso(a.end_ns), "mw": a.power_w / 1e6,
            "price_per_mwh": a.price_per_mwh,
        }
        for a in awards
    ]  # fmt: skip


def _dispatch(stage: Stage) -> list[dict[str, Any]]:
    rows = []
    for start_ns, fact in sorted(tracked_of(stage).items()):
        rows.append(
            {
                "start": iso(start_ns), "instructed_mw": round(fact.asked_w / 1e6, 6),
                "delivered_mw": round(fact.delivered_w / 1e6, 6),
                "error_mw": round((fact.delivered_w - fact.asked_w) / 1e6, 6),
                "withheld_mw": {cause: round(watts / 1e6, 6) for cause, watts in fact.withheld.items()},
                "causes_mw": {cause: round(watts / 1e6, 6) for cause, watts in fact.causes.items()},
                # All of these are means over what was counted: the interval without so many seconds.
                "uncounted_s": round((fact.end_ns - fact.start_ns) / SECOND_NS - counted_h(fact) * 3600.0, 3),
            }
        )  # fmt: skip
    return rows


def _schedules(stage: Stage) -> list[dict[str, Any]]:
    """Return what each pool's stores were planned to take between awards."""
    made = []
    for plan in stage.node.state.schedules.values():
        stores = len(plan.rows.array())
        power_w = plan.power_w.array().reshape(stores, plan.steps).sum(axis=0, dtype=np.float64)
        steps = [
            {"start": iso(plan.start_ns + at * plan.step_ns), "charge_mw": round(-float(power_w[at]) / 1e6, 6)}
            for at in np.flatnonzero(power_w < 0).tolist()
        ]
        made.append({"pool": plan.pool, "stores": stores, "awards": len(plan.awards), "steps": steps})
    return made


def _available(stage: Stage) -> dict[str, dict[str, float | int]]:
    """Return what the pool can still do on each feeder, at the end."""
    pool = stage.node.cycle.pools[POOL]
    if pool.by_feeder is None:
        return {}
    have = pool.by_feeder
    return {
        name: {
            "up_mw": round(float(have.up_w[at]) / 1e6, 6), "down_mw": round(float(have.down_w[at]) / 1e6, 6),
            "resources": int(have.resources[at]),
        }
        for at, name in enumerate(pool.feeders)
    }  # fmt: skip


def _with_times(seen: dict[str, Any]) -> dict[str, Any]:
    named = {key.removesuffix("_ns"): iso(value) for key, value in seen.items() if key.endswith("_ns")}
    return {**{key: _plain(value) for key, value in seen.items() if not key.endswith("_ns")}, **named}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def override_of(told: Told, records: list[Record]) -> dict[str, Any]:
    """Return the override with its latencies: from the operate to the arbitration, to the first and last command.

    Where its answer was lost the operate was given again, and moved nobody then: what the first one did is told, from
    when it was granted.
    """
    if not told.override:
        return {}
    asked_ns = min(int(told.override["when_ns"]), int(told.override["granted_ns"]))
    granted, fact = grant_of(records, told.override["group"], asked_ns)
    # Between the ask and the commands its caps may be moved among the feeder's devices: claims of the same ask.
    claims = {r.id for r in records if r.kind == "ClaimsPlaced" and granted.id in r.caused_by}
    issued = [r for r in records if r.kind == "CommandsIssued" and claims & set(r.caused_by)]
    reported = [f for r in records if (f := _of(r, CommandsReported)) and f.batch in {i.id for i in issued[:1]}]
    acks = [int(t) for f in reported for t in f.at_ns.array()[f.stage.array() == Life.ACCEPTED]]
    moved = [f for r in records if (f := _of(r, PositionChanged)) and f.cause == fact.claim]
    first = moved[0] if moved else None
    return {
        **_with_times(told.override),
        "claim": fact.claim,
        "arbitration_latency_s": (issued[0].recorded_at_ns - asked_ns) / SECOND_NS if issued else None,
        "commands": int(sum(len(_issued(r).rows.array()) for r in issued[:1])),
        "first_device_command_s": (min(acks) - asked_ns) / SECOND_NS if acks else None,
        "median_device_command_s": float(np.median([at - asked_ns for at in acks])) / SECOND_NS if acks else None,
        "late_device_commands": sum(1 for at in acks if at - asked_ns > LATE_S * SECOND_NS),
        "last_device_command_s": (max(acks) - asked_ns) / SECOND_NS if acks else None,
        "substitutes": list(first.substitutes[:10]) if first else [],
        "substitute_count": len(first.substitutes) if first else 0,
        "available_before_mw": first.before_up_w / 1e6 if first else None,
        "redeclared_mw": first.after_up_w / 1e6 if first else None,
        "owed_w": first.owed_w if first else None,
        "feasible_w": first.feasible_w if first else None,
        "others": told.spare,
        "declared_to_market": bool(first.declared) if first else False,
    }


def _of(record: Record, kind: type[Any]) -> Any:
    return from_record(record) if record.kind == kind.__name__ else None


def _issued(record: Record) -> CommandsIssued:
    fact = from_record(record)
    assert isinstance(fact, CommandsIssued)
    return fact


def _hops(stage: Stage, records: list[Record]) -> dict[str, dict[str, Any]]:
    """Return for each hop how much was sent, acknowledged and observed, and how long an answer took."""
    batches = [f for r in records if (f := _of(r, BatchTaken))]
    seen, shown = stage.iso.seen, stage.iso.batches
    # From when the ISO shows a batch, not from its stamp: one that comes out of order was stamped a step before.
    waits = [(f.batch.received_ns - shown[f.batch.uid].shown_at_ns) / SECOND_NS for f in batches]
    late = [one for one in shown.values() if one.shown_at_ns - to_ns(one.batch.batch_sent) > SECOND_NS]
    link = stage.link
    return {
        "iso_web": {
            "sent": len(shown), "acknowledged": len(seen.replies), "observed": len(batches), **_spread(waits),
            "measures": f"shown by the ISO until taken by us, who ask each {POLL_S:g} s",
            "shown_after_their_stamp": len(late),
        },
        "dnp3": {
            "sent": stage.scada.controls, "acknowledged": stage.scada.accepted,
            "observed": _operates_seen(records),
            **_spread(stage.scada.delays_s),
        },
        "modbus": _came(stage.modbus.counts), "mqtt": _came(stage.mqtt.counts), "openadr": _came(stage.openadr.counts),
        "devices": {
            "sent": link.sent, "acknowledged": link.acknowledged, "observed": link.observed, **_spread(link.delays_s),
        },
    }  # fmt: skip


def _came(counts: Counts) -> dict[str, Any]:
    """Return how far the commands of a link came."""
    spread = _spread(counts.delays_s)
    return {"sent": counts.sent, "acknowledged": counts.acknowledged, "observed": counts.observed, **spread}


def _is_dnp3(record: Record) -> bool:
    return b"dnp3:" in record.body


def _operates_seen(records: list[Record]) -> int:
    """Return how many operates of the control room changed what is asked; a lease that was renewed is none."""
    last: dict[str, tuple[float, float] | None] = {}
    count = 0
    for record in records:
        if record.kind not in ("AskGranted", "AskWithdrawn", "AskLapsed") or not _is_dnp3(record):
            continue
        fact = from_record(record)
        wish = (fact.ask.low, fact.ask.high) if isinstance(fact, AskGranted) else None
        count += wish != last.get(record.subject)
        last[record.subject] = wish
    return count


def _spread(seconds: list[float]) -> dict[str, float | None]:
    if not seconds:
        return {"p50_ms": None, "p99_ms": None}
    p50, p99 = np.percentile(seconds, [50, 99])
    return {"p50_ms": round(float(p50) * 1e3, 3), "p99_ms": round(float(p99) * 1e3, 3)}


def _trace(stage: Stage, records: list[Record], settlement: Settlement | None) -> tuple[float, dict[str, int]]:
    if settlement is None:
        return 0.0, {}
    energy = {line.id: abs(line.energy_wh) for line in settlement.lines if line.kind != "day_ahead"}
    asked = {start_ns for start_ns, fact in tracked_of(stage).items() if abs(fact.asked_w) >= 1.0}
    return followed(records, energy, frozenset(derive("interval", POOL, start_ns) for start_ns in asked))


def _money(stage: Stage, settlement: Settlement | None) -> dict[str, Any]:
    if settlement is None:
        return {}
    lines: dict[str, Decimal] = {}
    for line in settlement.lines:
        lines[line.kind] = lines.get(line.kind, Decimal("0.00")) + line.amount
    shares = settlement.shares
    gave = settlement.delivered_wh / 1e3
    gap = gap_of(stage, settlement)
    # Two measures of one delivery: meters less a baseline of like days (paid), telemetry above what devices would do.
    telemetered = gap["telemetered_kwh"]
    owed_wh = math.fsum(line.energy_wh for line in settlement.lines if line.kind == "day_ahead")
    return {
        "statement": settlement.statement,
        "version": settlement.version,
        "currency": "USD",
        "revenue": str(settlement.revenue),
        "by_kind": {kind: str(amount) for kind, amount in lines.items()},
        # Paid for like any other lack; excused energy counts as delivered in `performance_excused` alone.
        "bought_back": {cause: str(amount) for cause, amount in sorted(settlement.bought_back.items())},
        "excused_kwh": {cause: round(energy_wh / 1e3, 3) for cause, energy_wh in sorted(settlement.excused_wh.items())},
        "total": str(settlement.total),
        "awarded_kwh": round(owed_wh / 1e3, 3),
        "delivered_kwh": round(settlement.delivered_wh / 1e3, 3),
        "telemetered_kwh": telemetered, "baseline_less_telemetry_kwh": round(gave - telemetered, 3),
        "gap": gap,
        "performance": round(settlement.performance_frac, 4),
        "performance_excused": round(settlement.performance_excused_frac, 4),
        "operator_share": str(shares.operator),
        "owner_shares": {
            "owners": len(shares.owners), "sum": str(sum(shares.owners.values(), Decimal("0.00"))),
            "most": str(max(shares.owners.values(), default=Decimal("0.00"))),
            "by_owner": {owner: str(amount) for owner, amount in sorted(shares.owners.items())},
            "undistributed": str(shares.undistributed),
        },
        "lines": len(settlement.lines),
        "adds_up": settlement.adds_up,
        "input_hash": settlement.basis.input_hash,
        "baseline": _baseline(settlement.baselines[0]),
        "baselines": [_baseline(base) for base in settlement.baselines],
    }  # fmt: skip


def _baseline(base: Baseline) -> dict[str, Any]:
    return {
        "rule": base.rule, "version": base.version, "source": base.source, "factor": base.factor,
        "days": [day.isoformat() for day in base.days],
        "excluded": [[day.isoformat(), why] for day, why in base.excluded], "flags": list(base.flags),
    }  # fmt: skip
