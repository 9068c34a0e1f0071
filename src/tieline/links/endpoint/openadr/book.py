"""What a VTN knows: its objects, each change durable before it is known or answered, rebuilt by replay.

Theory of operation. A change is checked, its names and parents are held, it goes to the journal, and only then into
memory; where the journal fails nothing has happened. What it holds while it waits makes a second change of the same
object, or a second object of the same name, a `Conflict`, so that memory and journal never tell two stories. Objects
are found by id, name, owner, target, program and VEN, never by looking through all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import Struct

from tieline.desk.entry import Recorder
from tieline.flow.record import Journal, recorded
from tieline.ids import derive
from tieline.links.endpoint.openadr.access import OWNED
from tieline.times import Clock, iso
from tieline.wire.openadr3.objects import TYPES, VERBS

RECORD = "OpenAdrObject"
DESK = "tieline"
REVOKED = "revoked"
MOST_REPORTS = 500
Thing = dict[str, Any]
_MADE = ("id", "createdDateTime", "modificationDateTime", "objectType")
_NAMES = {"programs": ("programName",), "vens": ("venName",), "resources": ("venID", "resourceName")}
_PARENTS = {"events": ("programID", "programs"), "resources": ("venID", "vens"), "reports": ("eventID", "events")}


class Conflict(ValueError):
    """A change that another object, or another change under way, stands against; the text says which."""


class Missing(ValueError):
    """A change of, or below, an object that isn't there."""


class Change(Struct, frozen=True):
    """One change as it is recorded; `thing` None deletes. `by` is the client that made it."""

    kind: str
    id: str
    thing: Thing | None
    count: int
    by: str = ""


class Book:
    """The objects of a VTN by kind and id."""

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self._recorder, self._clock = recorder, clock
        self.things: dict[str, dict[str, Thing]] = {kind: {} for kind in TYPES}
        self.made_by: dict[str, str] = {}
        self.revoked_ns: dict[str, int] = {}
        self._made = 0
        self._busy: Counter[str] = Counter()
        self._names: dict[tuple[str, ...], str] = {}
        self._owned: dict[tuple[str, str], dict[str, None]] = {}
        self._targeted: dict[tuple[str, str], dict[str, None]] = {}
        self._children: dict[tuple[str, str], dict[str, None]] = {}
        self._granted: dict[str, Counter[str]] = {}
        self._holders: dict[str, dict[str, None]] = {}

    # --- finding -----------------------------------------------------------------------------------------------------

    def all(self, kind: str) -> Iterable[Thing]:
        """Return the objects of a kind, oldest first."""
        return self.things[kind].values()

    def owned(self, kind: str, client: str) -> list[Thing]:
        """Return a client's own objects of a kind."""
        return [self.things[kind][i] for i in self._owned.get((kind, client), ())]

    def targeted(self, kind: str, target: str) -> list[Thing]:
        """Return the objects of a kind with a target; the empty target finds those without any."""
        return [self.things[kind][i] for i in self._targeted.get((kind, target), ())]

    def below(self, kind: str, parent: str) -> list[Thing]:
        """Return the objects of a kind that belong to a program, VEN or event."""
        return [self.things[kind][i] for i in self._children.get((kind, parent), ())]

    def named(self, kind: str, *name: str) -> Thing | None:
        """Return the program or VEN of a name, or the resource of a VEN's id and a name."""
        found = self._names.get((kind, *name))
        return self.things[kind].get(found) if found else None

    def granted(self, client: str) -> frozenset[str]:
        """Return the targets that business logic gave to a client's own VENs and resources."""
        return frozenset(self._granted.get(client, ()))

    def holders(self, target: str) -> Iterable[str]:
        """Return the clients that were granted a target."""
        return self._holders.get(target, ())

    def program_of(self, kind: str, thing: Thing) -> str | None:
        """Return the program that an object belongs to; a report's is that of its event. None where there is none."""
        if kind == "programs":
            return str(thing["id"])
        # 3.1 took programID out of reports (changelog 3.1.0, 253); where one still names it, its event knows better.
        event = self.things["events"].get(thing["eventID"]) if kind == "reports" else None
        found = (event or thing).get("programID")
        return None if found is None else str(found)

    def above(self, report: Thing) -> tuple[Thing | None, Thing | None]:
        """Return the event that a report is on, and that event's program; None for what isn't there."""
        event = self.things["events"].get(report["eventID"])
        return event, self.things["programs"].get(event["programID"]) if event else None

    # --- replay ------------------------------------------------------------------------------------------------------

    def restore(self, journal: Journal) -> None:
        """Take in what the journal holds."""
        for record in journal.replay():
            if record.kind == RECORD:
                self._apply(msgspec.msgpack.decode(record.body, type=Change))

    def _apply(self, change: Change) -> None:
        self._made = max(self._made, change.count)  # ids after a restart never repeat those before it
        if change.kind == REVOKED:
            self.revoked_ns[change.id] = int((change.thing or {})["at_ns"])
            return
        old = self.things[change.kind].pop(change.id, None)
        if old is not None:
            self._index(change.kind, old, is_in=False)
        if change.thing is None:
            self.made_by.pop(change.id, None)
            return
        self.things[change.kind][change.id] = change.thing
        self.made_by[change.id] = change.by
        self._index(change.kind, change.thing, is_in=True)

    def _index(self, kind: str, thing: Thing, is_in: bool) -> None:
        # Each index answers one question that a call asks; an empty entry goes, so that what is gone costs nothing.
        places = [(self._owned, (kind, thing["clientID"]))] if kind in OWNED else []
        if kind in ("programs", "events"):
            places += [(self._targeted, (kind, target)) for target in thing.get("targets") or ("",)]
        if kind in _PARENTS:
            places.append((self._children, (kind, thing[_PARENTS[kind][0]])))
        if kind == "subscriptions":
            wishes = thing["objectOperations"]
            words = dict.fromkeys(w for wish in wishes for w in wish["objects"])
            places += [(self._targeted, (kind, word)) for word in words]
        for index, key in places:
            if is_in:
                index.setdefault(key, {})[thing["id"]] = None
            else:
                index[key].pop(thing["id"], None)
                if not index[key]:
                    del index[key]
        if kind in _NAMES:
            name = _name(kind, thing)
            self._names[name] = thing["id"]
            if not is_in:
                del self._names[name]
        if kind in ("vens", "resources"):
            self._grant_index(thing["clientID"], thing.get("targets") or (), 1 if is_in else -1)

    def _grant_index(self, client: str, targets: Iterable[str], by: int) -> None:
        held = self._granted.setdefault(client, Counter())
        for target in dict.fromkeys(targets):
            held[target] += by
            if held[target] > 0:
                self._holders.setdefault(target, {})[client] = None
            else:
                del held[target]
                self._holders[target].pop(client, None)
        if not held:
            del self._granted[client]

    # --- changes -----------------------------------------------------------------------------------------------------

    async def _commit(self, changes: list[Change], cause: tuple[str, ...]) -> None:
        now_ns = self._clock.now_ns()
        records = [recorded(derive("openadr", c.kind, c.id, c.count), RECORD, c.id, now_ns, cause, c) for c in changes]
        await self._recorder.append(records)  # durable first: what raises here has changed nothing
        for change in changes:
            self._apply(change)

    @contextmanager
    def _held(self, alone: Iterable[str], shared: Iterable[str] = ()) -> Iterator[None]:
        """Hold ids and names while a change is on its way to the journal: `alone` against all others."""
        alone, shared = list(alone), list(shared)
        taken = [key for key in alone if self._busy[key]]
        if taken or any(self._busy[f"!{key}"] for key in shared):
            raise Conflict("the object, or what it belongs to, is being changed just now: try again")
        keys = [*alone, *(f"!{key}" for key in alone), *shared]
        self._busy.update(keys)
        try:
            yield
        finally:
            self._busy.subtract(keys)
            for key in keys:
                if not self._busy[key]:
                    del self._busy[key]

    def _count(self) -> int:
        self._made += 1
        return self._made

    def _free(self, kind: str, thing: Thing) -> list[str]:
        """Return the key of an object's name, which is nobody else's. Raises Conflict."""
        if kind not in _NAMES:
            return []
        name = _name(kind, thing)
        if self._names.get(name, thing["id"]) != thing["id"]:
            raise Conflict(f"{_NAMES[kind][-1]} = {name[-1]!r} is taken")
        return ["\0".join(name)]

    def _parent(self, kind: str, thing: Thing) -> list[str]:
        """Return the id of what an object belongs to. Raises Missing where there is none."""
        if kind not in _PARENTS:
            return []
        field, parent_kind = _PARENTS[kind]
        if thing[field] not in self.things[parent_kind]:
            raise Missing(f"{field} = {thing[field]!r}: no such {TYPES[parent_kind].lower()}")
        return [thing[field]]

    async def add(self, kind: str, body: Struct, client: str, cause: tuple[str, ...] = ()) -> Thing:
        """Keep a new object and return it.

        Raises:
            Conflict: Its name is taken.
            Missing: What it belongs to isn't there.
        """
        count, now_ns = self._count(), self._clock.now_ns()
        thing_id = derive(TYPES[kind].lower(), client, count, now_ns).replace(":", "-")
        thing = self._filled(kind, body, thing_id, iso(now_ns), client)
        with self._held(self._free(kind, thing), self._parent(kind, thing)):
            await self._commit([Change(kind, thing_id, thing, count, client)], cause)
        return thing

    async def put(self, kind: str, thing_id: str, body: Struct, keeps: tuple[str, ...] = ()) -> Thing:
        """Replace an object as a whole and return it; `keeps` names fields that stay as they were.

        Raises:
            Conflict, Missing: As `add`; Missing too where the object itself is gone.
        """
        old = self.things[kind].get(thing_id)
        if old is None:
            raise Missing(f"{kind} {thing_id} is gone")
        thing = self._filled(kind, body, thing_id, old["createdDateTime"], old.get("clientID", ""))
        thing |= {name: old[name] for name in keeps if name in old}
        thing["modificationDateTime"] = iso(self._clock.now_ns())
        moved = self.below("resources", thing_id) if kind == "vens" and thing["clientID"] != old["clientID"] else []
        holds = [thing_id, *(resource["id"] for resource in moved), *self._free(kind, thing)]
        with self._held(holds, self._parent(kind, thing)):
            changes = [Change(kind, thing_id, thing, self._count(), self.made_by[thing_id])]
            for resource in moved:  # a resource is its VEN's: what was granted by it moves along
                now = {**resource, "clientID": thing["clientID"]}
                changes.append(Change("resources", now["id"], now, self._count(), self.made_by[now["id"]]))
            await self._commit(changes, ())
        return thing

    async def drop(self, kind: str, thing_id: str) -> list[tuple[str, Thing]]:
        """Forget an object and all that belongs to it, at once; return them as (kind, object), the asked for last."""
        if thing_id not in self.things[kind]:
            raise Missing(f"{kind} {thing_id} is gone")
        found = self._with_children(kind, thing_id)
        with self._held([thing["id"] for _, thing in found]):
            changes = [Change(k, t["id"], None, self._count()) for k, t in found if k != "reports"]
            if changes:
                await self._commit(changes, ())
            said = [t for k, t in found if k == "reports"]
            said += [r for k, t in found if k == "events" for r in self.below("reports", t["id"])]
            for report in said:
                self._apply(Change("reports", report["id"], None, 0))
        return found

    # The official text of 3.1.0 has no conflict for a DELETE: what belongs to an object goes with it.
    def _with_children(self, kind: str, thing_id: str) -> list[tuple[str, Thing]]:
        below = [child for child, (_, parent) in _PARENTS.items() if parent == kind]
        found = [
            one for child in below for t in self.below(child, thing_id) for one in self._with_children(child, t["id"])
        ]
        return [*found, (kind, self.things[kind][thing_id])]

    async def revoke(self, client: str) -> None:
        """Keep that no token which a client holds by now counts any more."""
        await self._commit([Change(REVOKED, client, {"at_ns": self._clock.now_ns()}, self._count())], ())

    def keep_report(self, body: Struct, client: str, is_new: bool = True, thing_id: str = "") -> Thing:
        """Keep a report in memory and return it: it holds measurements, which never enter the journal.

        The newest of each client, event and name stays, and at most 500 of a client.
        """
        said = msgspec.to_builtins(body)
        made_id = derive("report", client, said["eventID"], said.get("reportName") or "").replace(":", "-")
        thing_id = made_id if is_new else thing_id
        old = self.things["reports"].get(thing_id)
        now = iso(self._clock.now_ns())
        thing = self._filled("reports", body, thing_id, old["createdDateTime"] if old and not is_new else now, client)
        self._parent("reports", thing)
        # A VEN that reports under ever new names must not fill our memory: its own oldest gives way.
        mine = self._owned.get(("reports", client), {})
        if thing_id not in mine and len(mine) >= MOST_REPORTS:
            self._apply(Change("reports", next(iter(mine)), None, 0))
        self._apply(Change("reports", thing_id, thing, 0, client))
        return thing

    def _filled(self, kind: str, body: Struct, thing_id: str, created: str, client: str) -> Thing:
        said = {key: value for key, value in msgspec.to_builtins(body).items() if key not in _MADE}
        thing = {
            **said, "id": thing_id, "createdDateTime": created, "modificationDateTime": iso(self._clock.now_ns()),
            "objectType": TYPES[kind],
        }  # fmt: skip
        if kind == "resources":
            ven = self.things["vens"].get(thing["venID"])
            thing["clientID"] = ven["clientID"] if ven else client  # a resource is its VEN's
        elif kind == "vens":
            thing["clientID"] = said.get("clientID") or client
        elif kind in OWNED:
            thing["clientID"] = client
        return thing


def wants(wish: Thing, operation: str) -> bool:
    """Return whether a subscription's wish names an operation, by either of its words."""
    return any(VERBS.get(word, word) == operation for word in wish["operations"])


def _name(kind: str, thing: Thing) -> tuple[str, ...]:
    return (kind, *(thing[field] for field in _NAMES[kind]))
