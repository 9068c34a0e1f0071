"""What a VTN knows: its objects, each change durable before it is answered, rebuilt by replay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from tieline.desk.entry import Recorder
from tieline.flow.record import Journal, Record
from tieline.ids import derive
from tieline.times import Clock, iso

RECORD = "OpenAdrObject"
Thing = dict[str, Any]
TYPES = {
    "programs": "PROGRAM",
    "events": "EVENT",
    "reports": "REPORT",
    "vens": "VEN",
    "resources": "RESOURCE",
    "subscriptions": "SUBSCRIPTION",
}


class Book:
    """The objects of a VTN by kind and id."""

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self._recorder, self._clock = recorder, clock
        self.things: dict[str, dict[str, Thing]] = {kind: {} for kind in TYPES}
        self._made = 0

    def restore(self, journal: Journal) -> None:
        """Take in what the journal holds."""
        for record in journal.replay():
            if record.kind == RECORD:
                self._apply(msgspec.msgpack.decode(record.body))

    def _apply(self, change: Thing) -> None:
        self._made = max(self._made, change["count"])
        if change["thing"] is None:
            self.things[change["kind"]].pop(change["id"], None)
        else:
            self.things[change["kind"]][change["id"]] = change["thing"]

    async def _record(self, kind: str, thing_id: str, thing: Thing | None, cause: tuple[str, ...] = ()) -> str:
        self._made += 1
        change = {"kind": kind, "id": thing_id, "thing": thing, "count": self._made}
        record_id = derive("openadr", kind, thing_id, self._made)
        self._apply(change)
        now_ns = self._clock.now_ns()
        await self._recorder.append(
            [Record(record_id, RECORD, thing_id, now_ns, cause, msgspec.msgpack.encode(change))]
        )
        return record_id

    async def add(self, kind: str, body: Struct, client: str, cause: tuple[str, ...] = ()) -> Thing:
        """Keep a new object and return it as clients see it."""
        thing_id = derive(TYPES[kind].lower(), client, self._made, self._clock.now_ns()).replace(":", "-")
        now = iso(self._clock.now_ns())
        thing = {
            **msgspec.to_builtins(body), "id": thing_id, "createdDateTime": now, "modificationDateTime": now,
            "objectType": TYPES[kind],
        }  # fmt: skip
        if kind in ("vens", "resources", "subscriptions", "reports"):
            thing["clientID"] = thing.get("clientID") or client
        await self._record(kind, thing_id, thing, cause)
        return thing

    def keep_report(self, body: Struct, client: str) -> Thing:
        """Keep a report in memory and return it: it holds measurements, which never enter the journal.

        The newest of each client and event stays.
        """
        said = msgspec.to_builtins(body)
        thing_id = derive("report", client, said["eventID"], said.get("reportName") or "").replace(":", "-")
        now = iso(self._clock.now_ns())
        thing = {
            **said, "id": thing_id, "createdDateTime": now, "modificationDateTime": now, "objectType": "REPORT",
            "clientID": client,
        }  # fmt: skip
        self.things["reports"][thing_id] = thing
        return thing

    async def grant(self, kind: str, thing_id: str, targets: list[str]) -> None:
        """Give a VEN or resource its targets: only the business logic does that."""
        thing = {**self.things[kind][thing_id], "targets": targets}
        await self._record(kind, thing_id, thing)

    async def put(self, kind: str, thing_id: str, body: Struct, client: str) -> Thing:
        """Replace an object as a whole."""
        old = self.things[kind][thing_id]
        thing = {
            **msgspec.to_builtins(body), "id": thing_id, "createdDateTime": old["createdDateTime"],
            "modificationDateTime": iso(self._clock.now_ns()), "objectType": TYPES[kind],
        }  # fmt: skip
        if "clientID" in old:
            thing["clientID"] = old["clientID"]
        await self._record(kind, thing_id, thing)
        return thing

    async def drop(self, kind: str, thing_id: str) -> Thing:
        """Forget an object and return what it was."""
        old = self.things[kind][thing_id]
        await self._record(kind, thing_id, None)
        return old

    def all(self, kind: str) -> Iterable[Thing]:
        """Return the objects of a kind, oldest first."""
        return self.things[kind].values()
