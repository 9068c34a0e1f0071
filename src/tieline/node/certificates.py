"""What is told of certificates that a server uses and that end: by `doctor`, by its start, and by an alarm for each.

Nobody is kept out for want of a fresh one: a console or listener whose own has ended still starts, as people and peers
must get in to mend it, and may choose to believe it. A link that has to show one itself (ISO, market) is left out then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tieline.desk.views import AlarmView, LinkView
from tieline.errors import ConfigError
from tieline.ids import derive
from tieline.node.config import Settings
from tieline.node.left_out import NOT_STARTED
from tieline.rim.certificates import Lasting, lastings
from tieline.times import DAY_NS, iso

SOON_NS = 14 * DAY_NS
"""So long before its end a certificate is told of: an authority takes days to give another."""
RENEW = "Put a fresh one in its place, then start the server again"
CONSOLE = "the console"
SHIFT_S, SOON_S = 28_800, 900


@dataclass(frozen=True, slots=True)
class Use:
    """Where the settings name a certificate, who uses it, and whether it vouches for others (an authority)."""

    field: str
    user: str
    is_authority: bool = False

    @property
    def table(self) -> str:
        """The path of the table that the field stands in."""
        return self.field.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate's file, what the settings call it, its first and last instant (UTC, ns), and what uses it."""

    file: Path
    name: str
    begins_ns: int
    ends_ns: int
    uses: tuple[Use, ...]

    def is_valid(self, now_ns: int) -> bool:
        """Return whether it is valid at an instant (ns)."""
        return self.begins_ns <= now_ns <= self.ends_ns

    def ends_soon(self, now_ns: int) -> bool:
        """Return whether it is valid, and has less than 14 days left."""
        return self.is_valid(now_ns) and self.ends_ns - now_ns < SOON_NS


def certificates_of(settings: Settings, folder: Path) -> tuple[Certificate, ...]:
    """Return each certificate that the settings name, with all its uses; files that can't be read are left out.

    Our own may be a chain, which is told by what ends first. Of a file with several authorities the one that ends last
    counts: the old stands beside the new until the other side has moved.
    """
    found: dict[tuple[Path, Lasting], tuple[str, list[Use]]] = {}
    for use, name in _uses(settings):
        try:
            every = lastings(folder / name)
        except ConfigError:
            continue  # told by the check of the console or link that needs it
        key = folder / name, (max if use.is_authority else min)(every, key=lambda one: one.ends_ns)
        found.setdefault(key, (name, []))[1].append(use)
    return tuple(
        Certificate(file, name, lasting.begins_ns, lasting.ends_ns, tuple(uses))
        for (file, lasting), (name, uses) in found.items()
    )


def ended_says(certificates: Sequence[Certificate], told: Sequence[str], now_ns: int) -> list[str]:
    """Return what is wrong with each use of a certificate that is not valid now (UTC, ns), as a refusal has it.

    `told`: what is said of links already; a use that stands there isn't told again.
    """
    return [
        f"{use.field} = {str(one.file)!r}: {Lasting(one.begins_ns, one.ends_ns).against(now_ns)}"
        for one in certificates if not one.is_valid(now_ns)
        for use in one.uses if not any(_tells(said, use, one) for said in told)
    ]  # fmt: skip


def soon_says(certificates: Sequence[Certificate], now_ns: int) -> list[str]:
    """Return a warning of each certificate that has less than 14 days left now (UTC, ns)."""
    return [
        f"warning: {', '.join(use.field for use in one.uses)} = {str(one.file)!r}: ends {iso(one.ends_ns)}, in less "
        "than 14 days: put a fresh one in its place and start again"
        for one in certificates if one.ends_soon(now_ns)
    ]  # fmt: skip


def certificates_told(
    settings: Settings, folder: Path, left_out: Sequence[str], now_ns: int, say: Callable[[str], None]
) -> tuple[Certificate, ...]:
    """Say what a start finds of certificates (`left_out`: what it said of links that are), and return them all."""
    found = certificates_of(settings, folder)
    for line in (*(f"warning: {fault}" for fault in ended_says(found, left_out, now_ns)), *soon_says(found, now_ns)):
        say(line)
    return found


def certificate_alarms(
    certificates: Sequence[Certificate], links: Sequence[LinkView], since: Mapping[str, int], now_ns: int
) -> list[tuple[AlarmView, int]]:
    """Return an alarm for each certificate that soon ends or isn't valid, and that it is told at once (0 ns).

    The second is graver, and another alarm: whoever acknowledged the first has to look again. Each begins when its
    certificate says, so that a restart raises none anew. A server reads its files at its start alone: with the next one
    an alarm ends, if a fresh one is there by then.

    Args:
        certificates: What the server uses.
        links: All links: one that was left out for a certificate tells of it itself.
        since: When each standing alarm began, by id (UTC, ns).
        now_ns: Now (UTC, ns).
    """
    told = [link.last_error for link in links if link.last_error.startswith(NOT_STARTED)]
    found = []
    for one in certificates:
        uses = [use for use in one.uses if not any(_tells(said, use, one) for said in told)]
        if not uses or (one.is_valid(now_ns) and not one.ends_soon(now_ns)):
            continue
        what = f"Certificate {one.name} of {_users(uses)}"
        screen = "/alarms" if all(use.user == CONSOLE for use in uses) else "/links"
        priority, respond_s = 2, SOON_S
        if one.ends_soon(now_ns):
            kind, title, begins_ns = (
                "ends",
                f"{what} ends {iso(one.ends_ns)}",
                max(one.begins_ns, one.ends_ns - SOON_NS),
            )
            priority, respond_s = 3, SHIFT_S
        elif now_ns > one.ends_ns:
            kind, title, begins_ns = "ended", f"{what} ended {iso(one.ends_ns)}", one.ends_ns
        else:
            kind, title, begins_ns = "early", f"{what} is not valid before {iso(one.begins_ns)}", now_ns
        name = derive("alarm", "certificate", kind, str(one.file), str(one.ends_ns))
        alarm = AlarmView(
            name, priority, one.name, title, _consequence(uses, kind), RENEW, respond_s, screen, 1,
            since.get(name, begins_ns),
        )  # fmt: skip
        found.append((alarm, 0))
    return found


def _uses(settings: Settings) -> Iterator[tuple[Use, str]]:
    """Yield each use of a certificate with the file's name."""
    if settings.tls is not None:
        yield Use("$.tls.certificate", CONSOLE), settings.tls.certificate
    links = settings.links
    secured = [
        *((f"$.links.dnp3[{at}]", one.name, one.tls) for at, one in enumerate(links.dnp3)),
        *((f"$.links.iso[{at}]", one.name, one.tls) for at, one in enumerate(links.iso)),
        *((f"$.links.ews[{at}]", one.name, one.tls) for at, one in enumerate(links.ews)),
        *((f"$.links.openadr[{at}]", one.name, one.tls) for at, one in enumerate(links.openadr)),
    ]
    for path, name, tls in secured:
        if tls is not None:
            yield Use(f"{path}.tls.certificate", f"link {name}"), tls.certificate
            yield Use(f"{path}.tls.authority", f"link {name}", is_authority=True), tls.authority
    for at, broker in enumerate(links.mqtt):
        path = f"$.links.mqtt[{at}].tls"
        if broker.tls_certificate is not None:
            yield Use(f"{path}_certificate", f"link {broker.name}"), broker.tls_certificate
        if broker.tls_authority is not None:
            yield Use(f"{path}_authority", f"link {broker.name}", is_authority=True), broker.tls_authority


def _tells(said: str, use: Use, certificate: Certificate) -> bool:
    """Return whether the fault of a link names this use of a certificate."""
    return f"{use.table}: {certificate.file}: " in said


def _users(uses: Sequence[Use]) -> str:
    names = list(dict.fromkeys(use.user for use in uses))
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def _consequence(uses: Sequence[Use], kind: str) -> str:
    """Say what comes of it: of one that we show, of one that vouches for the other side, or of both."""
    says = []
    if any(not use.is_authority for use in uses):
        says.append("whoever is shown it may refuse us")
    if any(use.is_authority for use in uses):
        says.append("whom it vouches for is believed no more")
    text = ", and ".join(says)
    return f"From then on {text}" if kind == "ends" else text[0].upper() + text[1:]
