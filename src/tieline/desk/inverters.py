"""Inverter settings that a desk keeps: of each feeder the newest set, who is to follow it, and how far each has come.

Theory of operation. A set is one fact, taken whole or not at all. It names resources; the devices behind each are to
follow its curves by themselves, until a newer set of the feeder takes its place or it is taken back. What links report
of their devices is a fact too, so that it is known of a folder whose server is stopped. No device is in two sets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from tieline.desk.entry import Entry
from tieline.desk.fact import Fact
from tieline.desk.inverter_facts import (
    RefusedFor,
    SettingsStood,
    SettingsTaken,
    SettingsWithdrawn,
    Stands,
    Stood,
)
from tieline.desk.people import lacks_second, names_in
from tieline.grid.inverter_settings import InverterSettings, SettingsSet, settings_wrong
from tieline.ids import derive
from tieline.resource.claim import Refusal
from tieline.resource.level import Level

if TYPE_CHECKING:
    from tieline.desk.state import DeskState

MOST_SHOWN = 200


@dataclass(frozen=True)
class Sent:
    """The newest set of a feeder; `withdrawn_by` is empty while it counts. `stood` is what links said, by row."""

    fact: SettingsTaken
    record: str
    withdrawn_by: str = ""
    stood: Mapping[int, tuple[Stood, ...]] = field(default_factory=dict)


class DeviceStands(Struct, frozen=True):
    """How a function (`volt_var`, `volt_watt`, `droop`) of a device stands: asked, adopted, refused, displaced or given
    back, with the reason in a word and in detail."""

    device: str
    function: str
    stands: Stands
    word: RefusedFor
    why: str


class SettingsView(Struct, frozen=True):
    """A feeder's inverter settings as the desk has them; `stands` is `in force` or `withdrawn`.

    `counts` are functions of devices by how they stand, and `devices` the first of them, those in trouble first.
    """

    feeder: str
    version: int
    method: str
    made_at: str
    by: str
    stands: str
    resources: int
    counts: dict[str, int]
    devices: tuple[DeviceStands, ...]
    record: str


def touched(state: DeskState, made: SettingsSet) -> int:
    """Return how many devices stand beneath the resources of a set; what is no resource counts none."""
    names = [one.resource for one in made.settings if state.fleet.holds(one.resource)]
    return len({row for name in names for row in state.fleet.leaves(name).tolist()})


def decide_send(state: DeskState, made: SettingsSet, by: str) -> tuple[list[Entry], SettingsTaken | Refusal]:
    """Return the fact of taking a set, all or nothing; or why it is refused, with field, value and limit.

    The same set twice is taken once.
    """
    refusal = settings_wrong(made)
    if refusal is not None:
        return [], refusal
    fact, known = SettingsTaken(made, by), state.settings.get(made.feeder)
    digest = blake2b(msgspec.msgpack.encode(made), digest_size=16).hexdigest()
    record = derive("inverter-settings", made.feeder, made.version, digest)
    if known is not None and known.record == record and not known.withdrawn_by:
        return [], known.fact
    refusal = _stale(known, made, record) or _nobody(state, made)
    if refusal is None:
        rows = touched(state, made)
        refusal = lacks_second(names_in(by), Level.ENVELOPE, rows, len(state.fleet), state.two_people)
    if refusal is not None:
        return [], refusal
    return [Entry(record, fact, made.feeder, () if known is None else (known.record,))], fact


def decide_withdraw_settings(state: DeskState, feeder: str, by: str) -> tuple[list[Entry], bool]:
    """Return the fact of taking a feeder's settings back, and whether there were any."""
    known = state.settings.get(feeder)
    if known is None or known.withdrawn_by:
        return [], False
    fact = SettingsWithdrawn(feeder, known.fact.made.version, by)
    return [Entry(derive("inverter-settings-withdrawn", known.record), fact, feeder, (known.record,))], True


def decide_stood(state: DeskState, told: Mapping[int, tuple[Stood, ...]], now_ns: int) -> list[Entry]:
    """Return the facts of how devices stand by now, of what has changed alone; `told` is what links say, by row."""
    feeder_of = dict[int, str]()
    for is_old in (True, False):  # a device that is in a set by now counts there
        for feeder, sent in state.settings.items():
            if bool(sent.withdrawn_by) is is_old:
                feeder_of |= dict.fromkeys([*sent.stood, *_rows(state, sent.fact.made)], feeder)
    changed = dict[str, dict[int, tuple[Stood, ...]]]()
    for row, stood in told.items():
        name = feeder_of.get(row)
        if name is None:
            continue
        known = state.settings[name].stood.get(row, ())
        said = {one.function: one for one in known}  # a link that starts anew has yet to look: what it said holds
        stood = tuple(said.get(one.function, one) if one.stands is Stands.ASKED else one for one in stood)
        if stood != known:
            changed.setdefault(name, {})[row] = stood
    return [
        Entry(
            derive("inverter-settings-stood", feeder, now_ns), SettingsStood(feeder, rows), feeder,
            (state.settings[feeder].record,),
        )
        for feeder, rows in changed.items()
    ]  # fmt: skip


def wishes(state: DeskState) -> dict[int, InverterSettings]:
    """Return what each device is to follow by itself, by row; of the others their owners' settings hold."""
    found = dict[int, InverterSettings]()
    for known in state.settings.values():
        if not known.withdrawn_by:
            found |= _rows(state, known.fact.made)
    return found


def views_of(state: DeskState) -> list[SettingsView]:
    """Return every feeder's newest set, by name."""
    return [_view(state, known) for _, known in sorted(state.settings.items())]


def functions_of(settings: InverterSettings) -> list[str]:
    """Return the functions that settings are about, as in a document."""
    return [name for name in ("volt_var", "volt_watt", "droop") if getattr(settings, name) is not None]


# --- taking -----------------------------------------------------------------------------------------------------------


def _rows(state: DeskState, made: SettingsSet) -> dict[int, InverterSettings]:
    """Return what each device of a set is to follow, by row; what is no resource any more has none."""
    held = [one for one in made.settings if state.fleet.holds(one.resource)]
    return {row: one for one in held for row in state.fleet.leaves(one.resource).tolist()}


def _stale(known: Sent | None, made: SettingsSet, record: str) -> Refusal | None:
    if known is None or made.version > known.fact.made.version:
        return None
    why = "a newer set of this feeder is known"
    if made.version == known.fact.made.version:
        why = "this version was taken back" if known.record == record else "this version is known with other content"
    limit = f"> {known.fact.made.version}"
    return Refusal(why, "version", str(made.version), limit, known.record, "R4")


def _nobody(state: DeskState, made: SettingsSet) -> Refusal | None:
    """Refuse a resource that is none, has no devices, or shares one with another, of this set or of another feeder."""
    owner_of = dict[int, str]()
    for feeder, known in state.settings.items():
        if feeder != made.feeder and not known.withdrawn_by:
            owner_of |= dict.fromkeys(_rows(state, known.fact.made), f"the settings of {feeder}")
    for at, one in enumerate(made.settings):
        where = f"settings[{at}].resource"
        if not state.fleet.holds(one.resource):
            return Refusal("no such resource", where, one.resource, "a resource of the registry")
        rows = state.fleet.leaves(one.resource).tolist()
        if not rows:
            return Refusal("no device stands beneath it", where, one.resource, "a resource with devices")
        for row in rows:
            if row in owner_of:
                limit, device = f"nothing of {owner_of[row]}", state.fleet.id_of(row)
                return Refusal("two settings for one device", where, one.resource, limit, device)
            owner_of[row] = one.resource
    return None


# --- seeing -----------------------------------------------------------------------------------------------------------

_WORST = (Stands.REFUSED, Stands.DISPLACED, Stands.ASKED, Stands.GIVEN_BACK, Stands.ADOPTED)


def _view(state: DeskState, known: Sent) -> SettingsView:
    made, found = known.fact.made, list[DeviceStands]()
    asked = {} if known.withdrawn_by else _rows(state, made)
    for row in sorted({*asked, *known.stood}):
        said = {one.function: one for one in known.stood.get(row, ())}
        waits = functions_of(asked[row]) if row in asked else []
        said = {name: Stood(name, Stands.ASKED) for name in waits} | said
        for one in said.values():
            found.append(DeviceStands(state.fleet.id_of(row), one.function, one.stands, one.word, one.why))
    counts = Counter(str(one.stands) for one in found)
    found.sort(key=lambda one: _WORST.index(one.stands))
    return SettingsView(
        made.feeder, made.version, made.method, made.made_at, known.fact.by,
        "withdrawn" if known.withdrawn_by else "in force", len(made.settings), dict(counts),
        tuple(found[:MOST_SHOWN]), known.record,
    )  # fmt: skip


# --- what facts change ------------------------------------------------------------------------------------------------


def _note_taken(state: DeskState, record_id: str, fact: SettingsTaken) -> None:
    before = state.settings.get(fact.made.feeder)
    gone = {} if before is None else {row: s for row, s in before.stood.items() if row not in _rows(state, fact.made)}
    state.settings[fact.made.feeder] = Sent(fact, record_id, stood=gone)


def _note_withdrawn(state: DeskState, record_id: str, fact: SettingsWithdrawn) -> None:
    known = state.settings.get(fact.feeder)
    if known is not None and known.fact.made.version == fact.version:
        state.settings[fact.feeder] = replace(known, withdrawn_by=fact.by or "nobody named")


def _note_stood(state: DeskState, record_id: str, fact: SettingsStood) -> None:
    known = state.settings.get(fact.feeder)
    if known is not None:
        state.settings[fact.feeder] = replace(known, stood={**known.stood, **fact.stood})


CHANGES: dict[type[Fact], Callable[[DeskState, str, Any], None]] = {
    SettingsTaken: _note_taken,
    SettingsWithdrawn: _note_withdrawn,
    SettingsStood: _note_stood,
}
"""What each fact of settings changes."""
