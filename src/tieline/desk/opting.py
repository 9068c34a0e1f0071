"""An owner's word that a device of his, or all that stand behind a site of his, are not to be called; and its end.

Of a site it is one ask with one claim on each device behind it: all are out with one record or none is, and all come
back as it is taken back. Who is out by himself as well, or at his end-point, stays so.
"""

from __future__ import annotations

from tieline.desk.consents import PROGRAM as CONSENT
from tieline.desk.consents import SOURCE as CONTRACT
from tieline.desk.ports import Ask, Granted
from tieline.desk.state import AskKey, DeskState
from tieline.resource.claim import ClaimKind, Quantity, Refusal
from tieline.resource.identity import GROUP_KINDS, Kind, Purpose
from tieline.resource.level import Level
from tieline.times import FOREVER_NS, SECOND_NS, iso

PROGRAM = "opt-out"


def source_of(resource: str) -> str:
    """Return in whose name an owner's word on a resource is asked.

    >>> source_of("site-1")
    'owner:site-1'
    """
    return f"owner:{resource}"


def key_of_out(resource: str) -> AskKey:
    """Return where an owner's opt-out of a resource stands among asks."""
    return (source_of(resource), PROGRAM, resource, Quantity.CONNECT.value)


def ask_out(state: DeskState, resource: str, by: str, now_ns: int) -> Ask | Refusal:
    """Return what an owner asks who takes a device out, or all behind a site; or why he can't."""
    refusal = _refusal_of_out(state, resource)
    if refusal is not None:
        return refusal
    of = f" of all behind {resource}" if state.fleet.kind_of(resource) is Kind.SITE else ""
    version = max(now_ns, state.versions.get(key_of_out(resource), 0) + 1)  # above the last, though the clock went back
    return Ask(
        source_of(resource), "owner", PROGRAM, Level.OWNER_NEED, resource, Quantity.CONNECT, ClaimKind.GATE, version,
        now_ns, FOREVER_NS, because=f"the owner opted out{of} ({by})",
    )  # fmt: skip


def standing_out(state: DeskState, resource: str) -> Granted | None:
    """Return the answer that an owner's word got who is out by it already; None: it stands not, or not for all.

    A device that came behind a site since is not out by the word of before: the owner may say it again.
    """
    live = state.asks.get(key_of_out(resource))
    if live is None:
        return None
    alive = next((alive for batch, alive in state.claims.batches() if batch.id == live.claims), None)
    if alive is None or int(alive.sum()) < len(state.fleet.leaves(resource)):
        return None
    since = iso(live.start_ns // SECOND_NS * SECOND_NS)
    return Granted(live.claims, state.revision, stands=f"it is out since {since} already: {live.ask.because}")


def refusal_of_group(state: DeskState, resource: str) -> Refusal | None:
    """Return why nothing is asked of a resource in its owner's name; None where it is a device.

    A group is many owners': what all of its devices are to do is an operator's limit, which two people set.
    """
    if not state.fleet.holds(resource):
        return Refusal("no such device", "resource", resource[:64], "a device of the registry")
    if state.fleet.kind_of(resource) in GROUP_KINDS:
        return Refusal("an owner's wish is of his device, not of a group", "resource", resource, "a device")
    return None


def _refusal_of_out(state: DeskState, resource: str) -> Refusal | None:
    """Return why nobody is taken out; a site is one owner's place, and he may speak for all of it."""
    fleet = state.fleet
    if not fleet.holds(resource) or fleet.kind_of(resource) is not Kind.SITE:
        return refusal_of_group(state, resource)
    rows = fleet.leaves(resource)
    if not len(rows):
        return Refusal("no device stands behind it", "resource", resource, "a site with devices")
    owners = fleet.parents.get(Purpose.OWNER)
    named = [] if owners is None else sorted({fleet.groups[at].id for at in owners[rows].tolist() if at >= 0})
    if len(named) > 1:
        return Refusal(
            "its devices are several owners': each is out by himself", "resource", resource, "a site of one owner",
            holder=", ".join(named[:3]),
        )  # fmt: skip
    return None


def refusal_of_in(state: DeskState, resource: str) -> Refusal:
    """Return why an owner's word that isn't there can't be taken back: what else keeps the device out."""
    fleet = state.fleet
    if (f"ven:{resource}", PROGRAM, resource, Quantity.CONNECT.value) in state.asks:
        return Refusal("its owner is out at the end-point", "resource", resource, "the owner's word there")
    is_device = fleet.holds(resource) and fleet.kind_of(resource) not in GROUP_KINDS
    above = fleet.ancestors(fleet.row(resource), Purpose.SITE) if is_device else []
    site = next((group.id for group in above if key_of_out(group.id) in state.asks), None)
    if site is not None:
        return Refusal("its whole site is out", "resource", resource, f"{site}, to take all of it back in", holder=site)
    if is_device and state.agreed is not None and (why := state.agreed.nothing_of_row(fleet.row(resource))):
        return Refusal("its contract keeps it out", "resource", resource, why, rule="consent")
    kind = "a site" if fleet.holds(resource) and fleet.kind_of(resource) is Kind.SITE else "a device"
    if (CONTRACT, CONSENT, resource, Quantity.CONNECT.value) in state.asks:
        return Refusal("its contract keeps it out", "resource", resource, "a new consent", rule="consent")
    return Refusal("it has not opted out", "resource", resource, f"{kind} that is out")
