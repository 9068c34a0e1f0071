"""What a caller finds: filters and pages over what it may see.

Every filter must hold (OpenADR 3.1.0 Definition, "Response Filtering").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from starlette.datastructures import QueryParams

from tieline.links.endpoint.openadr.access import READ_ALL, Bearer, shown
from tieline.links.endpoint.openadr.book import Book, Thing
from tieline.wire.openadr3.objects import TYPES
from tieline.wire.openadr3.times import ends_ns, instant_ns

FILTERS = {
    "programs": (),
    "events": ("programID",),
    "reports": ("programID", "eventID", "clientName"),
    "subscriptions": ("programID", "clientName"),
    "vens": ("venName",),
    "resources": ("resourceName", "venID"),
}
TARGETED = ("programs", "events", "vens", "resources")


Hides = Callable[[str, str, Thing], bool]
"""Whether an object of a kind is kept from a client that its targets would show it to: (client, kind, object)."""


class QueryError(ValueError):
    """A query that can't be; the text names the parameter."""


def find(
    book: Book, bearer: Bearer, kind: str, query: QueryParams, page: int, now_ns: int, hides: Hides
) -> list[Thing]:
    """Return one page of what a caller may see and asks for, oldest first. Raises QueryError."""
    skip, limit = _page(query, page)
    wanted = frozenset(query.getlist("targets")) if kind in TARGETED else frozenset()
    passes = _passes(book, kind, query, now_ns)
    found: list[Thing] = []
    passed = 0
    for thing in _candidates(book, bearer, kind, wanted):
        if not passes(thing) or not _reached(book, bearer, kind, thing, wanted):
            continue
        seen = shown(bearer, kind, thing, book.granted(bearer.client), wanted)
        if seen is None or hides(bearer.client, kind, thing):
            continue
        passed += 1
        if passed > skip:
            found.append(seen)
            if len(found) == limit:
                break
    return found if limit else []


def find_one(book: Book, bearer: Bearer, kind: str, thing_id: str, query: QueryParams, hides: Hides) -> Thing | None:
    """Return an object as a caller may see it. Its id asks for all of the caller's targets, unless some are named."""
    thing = book.things[kind].get(thing_id)
    if thing is None or hides(bearer.client, kind, thing):
        return None
    granted = book.granted(bearer.client)
    return shown(bearer, kind, thing, granted, frozenset(query.getlist("targets")) or granted)


def _page(query: QueryParams, most: int) -> tuple[int, int]:
    try:
        skip, limit = int(query.get("skip", "0")), int(query.get("limit", str(most)))
    except ValueError:
        raise QueryError("skip, limit: give whole numbers") from None
    if not 0 <= skip < 2**31 or not 0 <= limit <= most:
        raise QueryError(f"limit = {limit}, skip = {skip}: give 0 to {most}, and 0 or more")
    return skip, limit


def _candidates(book: Book, bearer: Bearer, kind: str, wanted: frozenset[str]) -> Iterable[Thing]:
    """Return few objects among which is all that a caller may see."""
    if READ_ALL in bearer.scopes:
        return book.all(kind)
    if kind in ("programs", "events"):
        return (
            book.targeted(kind, min(wanted & book.granted(bearer.client), default=""))
            if wanted
            else book.targeted(kind, "")
        )
    return book.owned(kind, bearer.client)


def _reached(book: Book, bearer: Bearer, kind: str, thing: Thing, wanted: frozenset[str]) -> bool:
    """Return whether an object has all targets that are asked for; of a VEN's those count that it was granted."""
    if not wanted:
        return True
    # "a logical AND of the targets in the request and of the ven object": those not granted are as if never asked for.
    counts = wanted
    if kind in ("programs", "events") and READ_ALL not in bearer.scopes:
        counts = wanted & book.granted(bearer.client)
    return bool(counts) and counts <= set(thing.get("targets") or ())


def _passes(book: Book, kind: str, query: QueryParams, now_ns: int) -> Callable[[Thing], bool]:
    equal = {name: query[name] for name in FILTERS[kind] if name in query}
    program = equal.pop("programID", None)
    objects = set(query.getlist("objects")) if kind == "subscriptions" else set()
    if not objects <= set(TYPES.values()):
        raise QueryError(f"objects = {sorted(objects)}: give some of {', '.join(TYPES.values())}")
    active = query.get("active") if kind == "events" else None
    if active not in (None, "true", "false"):
        raise QueryError(f"active = {active!r}: give true or false")

    def passes(thing: Thing) -> bool:
        if program is not None and book.program_of(kind, thing) != program:
            return False
        if any(thing.get(name) != value for name, value in equal.items()):
            return False
        if objects and not objects <= {word for wish in thing["objectOperations"] for word in wish["objects"]}:
            return False
        return active != "true" or ends_ns(thing, instant_ns(thing["createdDateTime"]) or now_ns) > now_ns

    return passes
