"""Records in plain words, for the trace and the audit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from tieline.desk import facts as f
from tieline.desk.desk_views import (
    TraceNode,
    TraceView,
)
from tieline.desk.state import LAPSED
from tieline.flow.record import Record
from tieline.resource.claim import Quantity
from tieline.resource.command import Stage
from tieline.resource.level import Level
from tieline.store.trace import Trace
from tieline.times import FOREVER_NS, SECOND_NS, iso

MOST_NODES = 400
OPENADR, ACCOUNT, SESSION = "OpenAdrObject", "AccountChanged", "SessionChanged"
"""The kinds of record that a journal may hold."""


def kw(power_w: float) -> str:
    """Return a power in words: `open` where it is infinite, a nought without a sign."""
    if abs(power_w) == float("inf"):
        return "open"
    return f"{power_w / 1e6:.2f} MW" if abs(power_w) >= 1e6 else f"{power_w / 1e3:z.1f} kW"


def says(record: Record) -> str:
    """Return what a record says, in one line."""
    fact = f.from_record(record)
    match fact:
        case f.OfferMade(offer):
            return f"offered {kw(sum(s.power_w for s in offer.segments))} of {offer.product}"
        case f.OfferAnswered(_, refusal):
            return "offer taken" if refusal is None else f"offer refused: {refusal}"
        case f.OfferUnawarded():
            return "no award: the market cleared its day without it"
        case f.AwardTaken(award, refusal):
            text = f"award {kw(award.power_w)} at {award.price_per_mwh:.2f} $/MWh"
            text += f"; disputed: {fact.dispute}" if fact.dispute is not None else ""
            return text if refusal is None else f"{text} refused: {refusal}"
        case f.BatchTaken(batch, answer):
            watts = ", ".join(kw(i.power_w) for i in batch.instructions[:3])
            return f"dispatch batch {batch.uid}: {watts}; {len(answer.declined)} declined"
        case f.BatchChanged(uid, refusal):
            return f"dispatch batch {uid} came again with other contents, which are not followed: {refusal}"
        case f.BatchUnread(uid, refusal, link):
            return f"dispatch batch {uid} can't be followed by link {link}: {refusal}"
        case f.CapacityReserved():
            what = f"{kw(fact.up_w)} up of {fact.resource} for {fact.product}"
            return f"reserved {what}" if fact.refusal is None else f"refused to reserve {what}: {fact.refusal.reason}"
        case f.PositionChanged():
            return f"position: available up {kw(fact.before_up_w)} to {kw(fact.after_up_w)}, told upward"
        case f.AvailabilityDeclared():
            return f"told the market that {fact.pool} can give {kw(fact.up_w)} up and {kw(fact.down_w)} down"
        case f.IntervalTracked():
            return f"asked {kw(fact.asked_w)}, delivered {kw(fact.delivered_w)}"
        case f.EventTracked():
            return f"the event asked {kw(fact.asked_w)}, got {kw(fact.delivered_w)}"
        case f.ScheduleMade():
            return f"{len(fact.rows.array())} stores planned over {fact.steps} steps"
        case f.AwardPlanned():
            return f"{fact.rows} devices scheduled for awards, at most {fact.gap_frac:.1e} above any schedule's cost"
        case f.EventChanged():
            return f"event is {fact.state}, by {fact.by}"
        case f.StatementMade():
            return f"statement over {fact.total} {fact.currency} by {fact.rule}"
        case f.LineSettled():
            return f"{fact.kind} {fact.energy_wh / 1e3:.1f} kWh: {fact.amount}" + (
                f", {fact.cause}" if fact.cause else ""
            )
        case f.Audited():
            return f"{fact.who}: {fact.action}: {fact.outcome}" + (f" ({fact.detail})" if fact.detail else "")
        case None if record.kind == OPENADR:
            return _openadr(msgspec.msgpack.decode(record.body))
        case None if record.kind == ACCOUNT:
            return _account(msgspec.msgpack.decode(record.body))
        case None if record.kind == SESSION:
            return _session(msgspec.msgpack.decode(record.body))
        case _:
            return _says_of_control(fact) or _says_rarer(fact) or _spaced(record.kind)


def _says_of_control(fact: f.Fact | None) -> str:
    """Return what a record says of who asks what of devices, and of what they are told and answer."""
    match fact:
        case f.AskGranted(ask):
            until = "" if ask.end_ns >= FOREVER_NS else f", until {iso(ask.end_ns)}"
            because = f" ({ask.because})" if ask.because else ""
            level = Level(ask.level).name.lower().replace("_", " ")
            return f"{ask.source} granted {_ask(ask)}: {level}{until}{because}"
        case f.AskRefused(ask, refusal):
            return f"{ask.source} refused {_ask(ask)}: {refusal}"
        case f.AskWithdrawn():
            if fact.quantity == Quantity.CONNECT.value and fact.source.startswith("owner:"):
                return f"{fact.source} is back in: {fact.why}"
            return f"{fact.source} withdrew its {fact.quantity} claim: {fact.why}"
        case f.AskLapsed():
            return f"{fact.quantity} claim of {fact.source} ({fact.program}) lapsed at {iso(fact.end_ns)}: {LAPSED}"
        case f.ClaimsPlaced():
            level = Level(fact.level).name.lower().replace("_", " ")
            return f"claims at {level} on {len(fact.rows.array())} devices, {fact.kind}, by {fact.source}"
        case f.ClaimsEnded():
            return f"claims of {fact.source} ended: {fact.why}"
        case f.CommandsIssued():
            return f"commands issued to {len(fact.rows.array())} devices (epoch {fact.epoch}, seq {fact.seq})"
        case f.CommandsReported():
            return _reported(fact)
    return ""


def _says_rarer(fact: f.Fact | None) -> str:
    """Return what a record says that begins or bounds others."""
    match fact:
        case f.SettlementRefused():
            return f"not settled: {fact.refusal}"
        case f.EnvelopesTaken():
            return (
                f"operating envelopes of {fact.feeder} taken from {fact.by}: version {fact.version}, {fact.method}, "
                f"{len(fact.customers)} customers"
            )
        case f.EngineStarted():
            return f"{fact.resource} runs since {iso(fact.at_ns)}, counted as {fact.use.replace('_', ' ')}"
        case f.EngineStopped():
            return f"{fact.resource} ran till {iso(fact.at_ns)}"
        case f.EnvelopesWithdrawn():
            return f"operating envelopes of {fact.feeder}, version {fact.version}, taken back by {fact.by}"
        case f.SettingsTaken():
            made = fact.made
            return (
                f"inverter settings of {made.feeder} taken from {fact.by}: version {made.version}, {made.method}, "
                f"{len(made.settings)} resources"
            )
        case f.SettingsWithdrawn():
            return f"inverter settings of {fact.feeder}, version {fact.version}, taken back by {fact.by}"
        case f.SettingsStood():
            told = Counter(str(one.stands) for stood in fact.stood.values() for one in stood)
            counts = ", ".join(f"{count} {stands}" for stands, count in sorted(told.items()))
            return f"inverter settings of {fact.feeder}: of {len(fact.stood)} devices, by function: {counts}"
        case f.CurvesKept():
            return f"what owners of {len(fact.curves)} devices had of curves, kept by {fact.link}"
        case f.AlarmChanged():
            return f"alarm {fact.state} by {fact.by}"
        case f.AuthorityChanged():
            return f"{fact.what} set to {fact.value} by {fact.by}"
        case f.ReleaseStaged():
            waits = int((fact.at_ns.array() > 0).sum())
            return f"{waits} devices are let go at random, each at its turn; {len(fact.rows.array()) - waits} at once"
        case f.SetpointsKept():
            return (
                f"what the owners of {len(fact.rows.array())} devices have set is kept over what {fact.link} tells them"
            )
        case f.ControlsKept():
            return f"what owners set in the controls of {len(fact.rows.array())} devices of {fact.link} is kept"
        case f.FleetLoaded():
            return f"registry of {fact.count:,} devices read, digest {fact.digest[:12]}"
        case f.ResourceEnrolled():
            return f"{fact.resource.kind.value} {fact.resource.id} enrolled or changed"
        case f.CapacityDerated():
            short = f"; {len(fact.short)} promises fall short" if fact.short else ""
            return f"left to promise: {kw(fact.up_w)} up, {kw(fact.down_w)} down{short}"
        case f.PricesTaken():
            return f"{len(fact.starts.array())} prices of {fact.zone} ({fact.market}) from {fact.by}"
    return ""


def _spaced(kind: str) -> str:
    """Return a kind as words.

    >>> _spaced("LoadCondition")
    'load condition'
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind).lower()


def _openadr(change: dict[str, Any]) -> str:
    """Return what a change of an OpenADR object says: what for whom, by whom (OpenADR 3.1.0 Definition, events)."""
    if change["kind"] == "revoked":
        return f"OpenADR tokens of {change['id']} revoked"
    noun, thing = str(change["kind"]).removesuffix("s"), change.get("thing")
    by = f", by {change['by']}" if change.get("by") else ""
    if thing is None:
        return f"OpenADR {noun} deleted{by}"
    name = next(
        (str(thing[key]) for key in ("eventName", "programName", "venName", "reportName") if thing.get(key)), ""
    )
    payloads = [pay for interval in thing.get("intervals") or () for pay in interval.get("payloads") or ()]
    described = thing.get("payloadDescriptors") or ()
    units = {each.get("payloadType"): str(each.get("units") or "").replace("KW", "kW") for each in described}
    asks = ", ".join(
        f"{pay.get('type')} {' '.join(map(str, pay.get('values', ())))} {units.get(pay.get('type'), '')}".rstrip()
        for pay in payloads[:3]
    )
    targets = thing.get("targets") or ()
    whom = f" for {', '.join(map(str, targets[:3]))}" + (f" and {len(targets) - 3} more" if len(targets) > 3 else "")
    return f"OpenADR {noun} {name}".rstrip() + (whom if targets else "") + (f": {asks}" if asks else "") + by


def _account(body: dict[str, Any]) -> str:
    """Return what an account may do; never its hashes."""
    if not body.get("is_active", True):
        return f"account {body['name']} closed"
    scope, tokens = body.get("scope") or (), len(body.get("token_hashes") or ())
    of = f" of {', '.join(scope[:3])}" if scope else ""
    kind = "machine" if body.get("is_machine") else "account"
    hands = ", ".join(sorted(body.get("hands") or {}))
    lent = f"; a link or token of it was in hand of {hands}" if hands else ""
    return f"{kind} {body['name']}: {', '.join(body.get('roles') or ())}{of}; {tokens} API tokens{lent}"


def _session(body: dict[str, Any]) -> str:
    """Return until when somebody is signed in; never the hash of the cookie."""
    if body["is_over"]:
        return f"session of {body['name']} ended"
    return f"session of {body['name']} in use, until {iso(int(body['until_s']) * SECOND_NS)} at most"


def _ask(ask: object) -> str:
    kind, quantity = ask.kind.value, ask.quantity.value  # type: ignore[attr-defined]
    if kind == "limit":
        return f"limit {quantity} {kw(ask.low)} to {kw(ask.high)}"  # type: ignore[attr-defined]
    if kind == "gate":
        return "opt-out" if ask.level == Level.OWNER_NEED else f"gate {quantity}"  # type: ignore[attr-defined]
    return f"{kind} {quantity} {kw(ask.value)}"  # type: ignore[attr-defined]


def _reported(fact: f.CommandsReported) -> str:
    counts: dict[str, int] = {}
    for stage in fact.stage.array().tolist():
        word = Stage(stage).name.lower()
        counts[word] = counts.get(word, 0) + 1
    return "devices report: " + ", ".join(f"{count} {word}" for word, count in counts.items())


def trace_view(found: Trace) -> TraceView:
    """Return a trace with its records in words; depth counts steps from the first cause."""
    known = {record.id: record for record in found.records}
    causes: dict[str, list[str]] = {}
    for cause, effect in found.edges:
        causes.setdefault(effect, []).append(cause)
    depth: dict[str, int] = {}
    for record in sorted(found.records, key=lambda r: r.seq):
        depth[record.id] = 1 + max((depth[c] for c in causes.get(record.id, ()) if c in depth), default=-1)
    kept = sorted(known.values(), key=lambda r: r.seq)[:MOST_NODES]
    ids = {record.id for record in kept}
    nodes = tuple(TraceNode(r.id, r.kind, r.subject, r.recorded_at_ns, says(r), depth[r.id]) for r in kept)
    edges = tuple((a, b) for a, b in found.edges if a in ids and b in ids)
    return TraceView(found.start, nodes, edges, found.is_cut or len(known) > MOST_NODES)


def joined(views: Sequence[TraceView]) -> TraceView:
    """Return several traces as one, from the first of them on; what they share is told once."""
    if not views:
        return TraceView("", (), (), False)
    nodes = {node.id: node for view in views for node in view.nodes}
    edges = dict.fromkeys(edge for view in views for edge in view.edges)
    told = sorted(nodes.values(), key=lambda node: (node.at_ns, node.depth, node.id))
    return TraceView(views[0].start, tuple(told), tuple(edges), any(view.is_cut for view in views))
