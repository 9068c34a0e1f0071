"""Commands to end-points as OpenADR events, and their reports as readings and command progress.

Theory of operation. Each row is a resource behind a VEN and has one event, replaced as a whole by each command and
deleted when nothing is asked. The setpoint is DISPATCH_SETPOINT in kW drawn from the grid (OpenADR's sign is the
load's, ours is the grid's; here alone it turns), the bounds are IMPORT_ and EXPORT_CAPACITY_LIMIT. A VEN reports
SETPOINT once it has taken an event (ACCEPTED) and again when the device holds it (DONE); DEMAND reports become
readings. Where no report comes the command ends UNCONFIRMED.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from tieline.desk.ports import Intake, LinkHealth, Session
from tieline.links.endpoint.openadr.vtn import Vtn
from tieline.resource.batch import CommandBatch, CommandReports, Readings
from tieline.resource.command import RejectWord, Stage
from tieline.resource.point import code
from tieline.rim.supervise import Supervisor
from tieline.times import SECOND_NS, Clock, iso

PROGRAM = "tieline-dispatch"
ANSWER_S = 90.0
POINTS = {
    "DEMAND": "power_w",
    "UP_REGULATION_AVAILABLE": "available_up_w",
    "DOWN_REGULATION_AVAILABLE": "available_down_w",
}
Thing = dict[str, Any]


class OpenAdrLink:
    """Carries commands to VENs; a `desk.ports.CommandLink`."""

    def __init__(
        self,
        vtn: Vtn,
        rows: Mapping[int, str],
        intake: Intake,
        clock: Clock,
        supervisor: Supervisor,
        name: str = "openadr",
    ) -> None:
        """Make a link; `rows` names the VEN and resource of each row (both carry the resource's name)."""
        self.name = name
        self._vtn, self._intake, self._clock, self._supervisor = vtn, intake, clock, supervisor
        self._row_of = {resource: row for row, resource in rows.items()}
        self._resource_of = dict(rows)
        self._program = self._telemetry = ""
        self._event_of: dict[int, str] = {}
        self._open: dict[int, CommandBatch] = {}
        self._seen: dict[int, tuple[int, int]] = {}
        self._turn: dict[int, asyncio.Lock] = {row: asyncio.Lock() for row in rows}
        self.sent = self.acknowledged = self.observed = self.unconfirmed = 0
        self.delays_s: list[float] = []
        vtn.watchers.append(self._watch)

    async def start(self) -> None:
        """Make the program, and the standing event that telemetry reports refer to."""
        known = {thing["programName"]: thing["id"] for thing in self._vtn.book.all("programs")}
        program = {"programName": PROGRAM}
        self._program = known.get(PROGRAM) or (await self._vtn.publish("programs", msgspec.json.encode(program)))["id"]
        event = {"programID": self._program, "eventName": "telemetry", "intervals": []}
        self._telemetry = (await self._vtn.publish("events", msgspec.json.encode(event)))["id"]

    async def send(self, batch: CommandBatch) -> None:
        """Hand rows over; an expired batch is reported, an older one than the last of a row is passed over."""
        expired = batch.valid_until_ns <= self._clock.now_ns()
        for row in batch.rows.tolist():
            stamp = (batch.epoch, batch.seq)
            if expired:
                self._tell(batch, row, Stage.EXPIRED)
            elif self._seen.get(row, (0, 0)) < stamp:
                self._seen[row] = stamp
                self._supervisor.spawn(self._carry_out(batch, row), "openadr-command")

    async def _carry_out(self, batch: CommandBatch, row: int) -> None:
        async with self._turn[row]:
            if self._seen[row] != (batch.epoch, batch.seq):
                self._tell(batch, row, Stage.CANCELLED)  # a newer command overtook it before it left
                return
            self._open[row] = batch
            old = self._event_of.pop(row, None)
            if old is not None:
                await self._vtn.retract("events", old)
            event = self._event(batch, row)
            self.sent += 1
            thing = await self._vtn.publish("events", msgspec.json.encode(event), (batch.id,))
            self._event_of[row] = thing["id"]
        await asyncio.sleep(ANSWER_S)
        if self._open.get(row) is batch:
            del self._open[row]
            self.unconfirmed += 1
            self._tell(batch, row, Stage.UNCONFIRMED, reject=RejectWord.TIMEOUT)

    def _event(self, batch: CommandBatch, row: int) -> Thing:
        at = int(np.flatnonzero(batch.rows == row)[0])
        target_w, low_w, high_w = (float(column[at]) for column in (batch.target_w, batch.low_w, batch.high_w))
        payloads: list[Thing] = []
        if math.isfinite(target_w):
            payloads.append({"type": "DISPATCH_SETPOINT", "values": [-target_w / 1e3]})
        if math.isfinite(low_w):
            payloads.append({"type": "IMPORT_CAPACITY_LIMIT", "values": [-low_w / 1e3]})
        if math.isfinite(high_w):
            payloads.append({"type": "EXPORT_CAPACITY_LIMIT", "values": [high_w / 1e3]})
        seconds = int((batch.valid_until_ns - batch.valid_from_ns) / SECOND_NS)
        return {
            "programID": self._program, "eventName": f"{batch.epoch}.{batch.seq}",
            "targets": [self._resource_of[row]],
            "intervalPeriod": {"start": iso(batch.valid_from_ns), "duration": f"PT{seconds}S"},
            "intervals": [{"id": 0, "payloads": payloads}],
        }  # fmt: skip

    # --- what VENs say ---------------------------------------------------------------------------------------------

    def _watch(self, kind: str, operation: str, thing: Thing) -> None:
        if kind == "vens" and operation == "CREATE" and thing["venName"] in self._row_of:
            self._supervisor.spawn(self._vtn.book.grant("vens", thing["id"], [thing["venName"]]), "grant")
        if kind == "reports" and operation == "CREATE":
            self._take(thing)

    def _take(self, report: Thing) -> None:
        for said in report["resources"]:
            row = self._row_of.get(said["resourceName"])
            # A VEN speaks for its own resource only: its client is registered under the resource's name.
            if row is None or report["clientName"] != said["resourceName"]:
                continue
            values = {p["type"]: p["values"][0] for i in said["intervals"] for p in i["payloads"] if p["values"]}
            self._readings(row, values)
            if "OPERATING_STATE" in values and report["eventID"] == self._event_of.get(row):
                self._progress(row, str(values["OPERATING_STATE"]), values)

    def _readings(self, row: int, values: Mapping[str, Any]) -> None:
        found: dict[str, float] = {}
        for name, key in POINTS.items():
            if isinstance(values.get(name), (int, float)):
                sign = -1.0 if name == "DEMAND" else 1.0
                found[key] = sign * float(values[name]) * 1e3
        if not found:
            return
        now_ns, count = self._clock.now_ns(), len(found)
        self._intake.readings(
            Readings(
                np.full(count, row, np.int32), np.array([code(key) for key in found], np.uint16),
                np.array(list(found.values())), np.zeros(count, np.uint32), np.full(count, now_ns, np.int64),
                np.full(count, now_ns, np.int64), self.name,
            )
        )  # fmt: skip

    def _progress(self, row: int, state: str, values: Mapping[str, Any]) -> None:
        batch = self._open.get(row)
        if batch is None:
            return
        demand = values.get("DEMAND")
        seen_w = -float(demand) * 1e3 if isinstance(demand, (int, float)) else math.nan
        if state == "ACCEPTED":
            self.acknowledged += 1
            self.delays_s.append((self._clock.now_ns() - batch.issued_at_ns) / SECOND_NS)
            self._tell(batch, row, Stage.ACCEPTED)
        elif state in ("DONE", "OPTED_OUT"):
            del self._open[row]
            self.observed += state == "DONE"
            stage = Stage.DONE if state == "DONE" else Stage.REJECTED
            self._tell(batch, row, stage, seen_w, RejectWord.NONE if state == "DONE" else RejectWord.BLOCKED, state)

    def _tell(
        self,
        batch: CommandBatch,
        row: int,
        stage: Stage,
        observed_w: float = math.nan,
        reject: RejectWord = RejectWord.NONE,
        native: str = "",
    ) -> None:
        event = self._event_of.get(row, "")
        self._intake.reports(
            CommandReports(
                batch.id, self.name, np.array([row], np.int32), np.array([stage], np.uint8),
                np.array([self._clock.now_ns()], np.int64), np.array([reject], np.uint8), np.array([observed_w]),
                (native,) if native else (), (event,) if event else (),
            )
        )  # fmt: skip

    def health(self) -> LinkHealth:
        """Return how the link is."""
        vens = len(self._vtn.book.things["vens"])
        session = Session.LIVE if vens >= len(self._row_of) else Session.DEGRADED if vens else Session.DOWN
        now_ns = self._clock.now_ns()
        return LinkHealth(self.name, "openadr", session, now_ns, vens, self.sent, self.acknowledged, self._vtn.refused)
