"""The contracts of a data folder: read, joined to its registry, and given to the desk that they bind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tieline.contract.membership import EnrolmentBook
from tieline.contract.minimum import size_rules
from tieline.contract.party import Contracts, parse_contracts
from tieline.contract.program import AnyProgram
from tieline.contract.programs import parse_programs, sample_programs
from tieline.contract.strict import Faulty
from tieline.desk.agreed import Agreements
from tieline.desk.engine_runs import Engines
from tieline.desk.state import DeskState
from tieline.errors import ConfigError
from tieline.fleet.columns import Fleet
from tieline.market.product import Ladder, product_rules
from tieline.market.rule import baseline_rules
from tieline.node.config import Settings
from tieline.rim.texts import text_in
from tieline.store.enrolment_files import read_book
from tieline.times import FOREVER_NS


def contracts_in(path: Path) -> Contracts:
    """Return the contracts of a file. Raises ConfigError with every fault, each with its path."""
    return parse_contracts(_text(path), str(path))


def programs_in(path: Path | None) -> tuple[AnyProgram, ...]:
    """Return the programs of a file, or Tieline's; names of other rules in them have to be rules.

    Raises:
        ConfigError: A program is faulty, or names a baseline, ladder or minimum that there isn't.
    """
    found = sample_programs() if path is None else parse_programs(_text(path), str(path))
    names: dict[str, Any] = {
        "baseline": baseline_rules(),
        "ladder": {rule.id for rule in product_rules() if isinstance(rule, Ladder)},
        "minimum": size_rules(),
    }
    faults = [
        f"{path}: $.program[{at}].{field} = {value!r}: give one of {', '.join(sorted(known))}"
        for at, one in enumerate(found)
        for field, known in names.items()
        if (value := getattr(one, field, None)) is not None and value not in known
    ]
    if faults:
        raise Faulty(str(path), faults)
    return found


def _text(path: Path) -> str:
    try:
        return text_in(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}: give a file that can be read") from None


def agreements_of(settings: Settings, folder: Path, fleet: Fleet) -> Agreements | None:
    """Return what the contracts of a folder let its desk call; None: the settings name none.

    Raises:
        ConfigError: A file can't be read or is faulty, or a location names what the registry doesn't hold.
    """
    given = settings.contracts
    if given is None:
        return None
    path = folder / given.file
    book = contracts_in(path)
    programs = programs_in(None if given.programs is None else folder / given.programs)
    faults = [
        f"{path}: $.location[{at}].{'resources' if place.resources else 'id'} = {resource!r}: give a resource of the "
        "registry"
        for at, place in enumerate(book.locations.values())
        for resource in place.stands
        if not fleet.holds(resource)
    ]
    if faults:
        raise Faulty(str(path), faults)
    return Agreements(book, fleet, settings.zone, programs, given.without == "serve")


def contract_checks(settings: Settings, folder: Path, fleet: Fleet) -> Iterator[Callable[[], object]]:
    """Yield the checks of the contracts that the settings name, of programs, the book of enrolments and engines."""
    if settings.permits or settings.orders:
        yield lambda: Engines(fleet, settings.zone, permits=settings.permits, orders=settings.orders)
    if settings.contracts is not None:
        yield lambda: agreements_of(settings, folder, fleet)
    if (path := book_path(settings, folder)) is not None:
        yield lambda: book_in(path)


def book_path(settings: Settings, folder: Path) -> Path | None:
    """Return the file of a folder's book of enrolments; None: its settings name none."""
    given = settings.contracts
    return None if given is None or given.enrolments is None else folder / given.enrolments


def book_in(path: Path) -> EnrolmentBook:
    """Return the book of a file. Raises ConfigError where there is none: nobody could be called by it."""
    if not path.exists():
        raise ConfigError(f"{path}: no such file: `tieline enrol` makes one (--book)")
    return read_book(path)


def bind(state: DeskState, agreed: Agreements | None, now_ns: int) -> None:
    """Give a desk's state its contracts, with all that its journal knows of what owners said of them since."""
    state.agreed = agreed
    if agreed is None:
        return
    for name, words in state.consents.items():
        agreed.hear(name, words)
    agreed.tick(now_ns)


def next_change_ns(state: DeskState) -> int:
    """Return when time alone changes what contracts let a desk call: it beats then."""
    return FOREVER_NS if state.agreed is None else state.agreed.next_change_ns()


def told_at_start(state: DeskState) -> str:
    """Return what to say of a folder's contracts as its server starts; empty: it holds none."""
    agreed = state.agreed
    if agreed is None:
        return ""
    left = int((~agreed.covered & ~agreed.agrees(())).sum())
    rest = f"; {left:,} devices have none and are not called" if left else ""
    return f"{len(agreed.names):,} contracts on {int(agreed.covered.sum()):,} devices{rest}"
