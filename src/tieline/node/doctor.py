"""Examines a data folder: settings, registry, links, journal and readings, by the very checks of a server's start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from tieline.errors import ConfigError
from tieline.fleet.columns import Fleet
from tieline.node.aside_start import put_away, waits_aside
from tieline.node.certificates import certificates_of, ended_says, soon_says
from tieline.node.clear_text import in_the_clear
from tieline.node.config import Settings, load_config
from tieline.node.contracting import agreements_of, book_in, book_path, contract_checks
from tieline.node.faults import fields_of
from tieline.node.journals import journal_to_read, require_moved
from tieline.node.known_rules import unruled
from tieline.node.link_settings import count_links
from tieline.node.links import with_tables
from tieline.node.starting import console_checks, faults, file_checks, link_checks
from tieline.node.trade_settings import narrow_moves
from tieline.store import registry
from tieline.store.aside import NAME as ASIDE
from tieline.store.faults import JournalDamaged, NoJournalYet, StoreError
from tieline.store.journal import SqlJournal
from tieline.store.learnt import load
from tieline.store.lock import held_since_ns
from tieline.store.narrow import readable_by_others
from tieline.store.segment import faults_of
from tieline.store.series import Historian, hour_faults
from tieline.times import HOUR_NS, SECOND_NS, Clock, iso

T = TypeVar("T")
Finding = dict[str, Any]


def examine(data: Path, clock: Clock) -> tuple[bool, dict[str, Finding]]:
    """Return whether a server could start on the folder with every link, and what was found of each part.

    A part is `ok` true or false; null: it was not looked at, as what it rests on has to be mended first. `faults` name
    field, value and limit of each fault; `warnings` those of what doesn't keep it from starting.
    """
    found: dict[str, Finding] = {}
    settings = _read(found, "settings", lambda: load_config(data / "tieline.toml"))
    fleet = _read(found, "registry", lambda: registry.load(data / "registry.bin"))
    if fleet is not None:
        unchecked = "" if registry.is_checked(data / "registry.bin") else ", without a checksum until the next import"
        found["registry"] = _finding(f"{len(fleet)} devices{unchecked}", [])
    if settings is None:
        for name in ("links", "journal", "readings"):
            found[name] = {"ok": None, "says": "not looked at: mend the settings first"}
        return False, found
    found["settings"] = _finding(settings.name, faults(console_checks(settings, data)))
    if fleet is None:
        found["links"] = {"ok": None, "says": "not looked at: mend the registry first"}
        if settings.contracts is not None:
            found["contracts"] = {"ok": None, "says": "not looked at: mend the registry first"}
    elif (links := _read(found, "links", lambda: with_tables(settings.links, data))) is not None:
        whole = replace(settings, links=links)
        files = (check for _, check in file_checks(links, data, fleet, clock))
        wrong = [*faults(link_checks(whole, data, fleet)), *faults(files)]
        found["links"] = _finding(count_links(links), wrong)
        if not wrong and (narrow := narrow_moves(settings.limits, fleet)):
            found["limits"] = {"ok": True, "says": "; ".join(f"warning: {one}" for one in narrow)}
        found |= _warned("clear_text", in_the_clear(whole))
    told = [fault["error"] for fault in found["links"].get("faults", ())]
    found |= _certificates(settings, data, told, clock.now_ns())
    if fleet is not None and settings.contracts is not None:
        wrong = faults(contract_checks(settings, data, fleet))
        found["contracts"] = _finding("" if wrong else _contracts(settings, data, fleet), wrong)
    agreed = None
    if fleet is not None and found.get("contracts", {}).get("ok"):
        agreed = agreements_of(settings, data, fleet)
    found |= _warned("jurisdiction", unruled(settings, agreed))
    if (says := _read(found, "journal", lambda: _journal(data, settings))) is not None:
        found["journal"] = _finding(says, [])
    if (says := _read(found, "readings", lambda: _readings(data, settings))) is not None:
        found["readings"] = _finding(says, _damage(data))
    if (since_ns := held_since_ns(data)) is not None:
        found["server"] = {"ok": True, "says": _server(data, settings, since_ns)}
    if fleet is not None:
        ids = fleet.ids
        says = _read(found, "learnt", lambda: _learnt(data / "learnt.bin", ids))
        found |= {} if says is None else {"learnt": _finding(says, [])}
    if open_to_all := readable_by_others(data):
        found["rights"] = {"ok": True, "says": _rights(data, open_to_all)}
    return all(one["ok"] for one in found.values()), found


def _finding(says: str, faults: list[str]) -> Finding:
    if not faults:
        return {"ok": True, "says": says}
    return {"ok": False, "says": "; ".join(faults), "faults": [fields_of(fault) for fault in faults]}


def _warned(name: str, says: Sequence[str]) -> dict[str, Finding]:
    """Return the part that warns of something, with field, value and limit of each; nothing where there is none."""
    told = "; ".join(f"warning: {one}" for one in says)
    return {name: {"ok": True, "says": told, "warnings": [fields_of(one) for one in says]}} if says else {}


def _read(found: dict[str, Finding], name: str, read: Callable[[], T]) -> T | None:
    try:
        return read()
    except ConfigError as error:
        found[name] = _finding("", [str(error)])
        return None


def _certificates(settings: Settings, data: Path, told: Sequence[str], now_ns: int) -> dict[str, Finding]:
    """Name certificates that aren't valid, but those that links are faulted for (`told`), and those that soon end."""
    held = certificates_of(settings, data)
    wrong, soon = ended_says(held, told, now_ns), soon_says(held, now_ns)
    says = "; ".join((*wrong, *soon))
    return {"certificates": {**_finding("", wrong), "says": says}} if says else {}


def _server(data: Path, settings: Settings, since_ns: int) -> str:
    """Say since when a process holds the folder, and what of it that a start reads was changed since."""
    named = {
        data / "tieline.toml",
        data / "registry.bin",
        *data.glob("*.pem"),
        *data.glob("*.key"),
        *data.glob("*.csv"),
    }
    contracts = settings.contracts
    named |= set() if contracts is None else {data / contracts.file, data / (contracts.programs or contracts.file)}
    later = sorted(path.name for path in named if path.exists() and path.stat().st_mtime_ns > since_ns)
    restart = f": start it again for what was changed since: {', '.join(later[:5])}" if later else ""
    return f"in use since {iso(since_ns // SECOND_NS * SECOND_NS)}{restart}"


def _rights(data: Path, wide: Sequence[Path]) -> str:
    """Warn of files that every account of the machine can read."""
    named = ", ".join(str(path.relative_to(data)) for path in wide[:10])
    more = f" and {len(wide) - 10} more" if wide[10:] else ""
    return (
        f"warning: every account of this machine can read {named}{more}: a start narrows what a server writes; "
        "of others take the right away with `chmod o= FILE`"
    )


def _contracts(settings: Settings, data: Path, fleet: Fleet) -> str:
    """Say how many contracts there are, and on how many devices."""
    agreed = agreements_of(settings, data, fleet)
    count, on = (0, 0) if agreed is None else (len(agreed.names), int(agreed.covered.sum()))
    path = book_path(settings, data)
    enrolments = "" if path is None else f"; {len(book_in(path).enrolments)} enrolments"
    return f"{count} contracts on {on} of {len(fleet)} devices{enrolments}"


def _journal(data: Path, settings: Settings) -> str:
    """Say how many records the journal holds; every one is as it was written, and none is missing at the end."""
    try:
        journal = journal_to_read(data)
    except NoJournalYet as error:
        if any((data / name).exists() for name in ("journal.db", "journal.head", ASIDE)):
            raise  # there were records: the database is another one
        return f"no records yet: {error}"
    try:
        broken, fault = journal.verify(), journal.end_fault()
        if broken is not None and broken != journal.lost():
            raise ConfigError(f"record {broken} was changed, or is missing: put the file back from a backup")
        if fault:
            raise ConfigError(fault)
        if settings.journal.url:
            require_moved(data, journal)
        return f"{journal.last_seq} records, chain whole, in {journal.name}{_aside(data, journal)}"
    except JournalDamaged as error:
        raise ConfigError(f"{error}; record {error.seq} is the first that can't be read") from None
    except StoreError as error:
        raise ConfigError(str(error)) from None
    finally:
        journal.close()


def _aside(data: Path, journal: SqlJournal) -> str:
    """Say what stands beside the journal that it lacks; empty: nothing. Raises ConfigError: it was changed."""
    waits, left = waits_aside(data, journal), ", ".join(path.name for path in put_away(data))
    return (f"; {waits}" if waits else "") + (f"; not taken, as its start said: {left}" if left else "")


def _learnt(path: Path, ids: Sequence[str]) -> str:
    """Say of how many devices something is kept that was learnt by listening. Raises ConfigError."""
    try:
        found = load(path, ids)
    except ValueError as error:
        raise ConfigError(f"{path} = {error}: move it away: what devices do uncalled is then learnt anew") from error
    return "nothing yet" if found is None else f"{int(found[1]['known'].sum())} devices, {iso(found[0].at_ns)}"


def _damage(data: Path) -> list[str]:
    """Say which files of readings can't be read wholly, what remains of each, and what to do."""
    return [*faults_of(data / "readings"), *hour_faults(data / "historian", pages=True)]


def _readings(data: Path, settings: Settings) -> str:
    """Say from when until when readings are there, and how long they are kept."""
    days = settings.readings.keep_days
    kept = "for ever" if days is None else f"{days} days"
    hours = Historian(data / "historian").hours() if (data / "historian").is_dir() else []
    span = f"{iso(hours[0] * HOUR_NS)} to {iso((hours[-1] + 1) * HOUR_NS)}, " if hours else ""
    return f"{len(hours)} hours in the historian, {span}kept {kept}"
