"""What of a server's settings goes over a network in the clear, though its protocol has TLS here, and what to do.

Where tokens, sign-ins or dispatch would go so, a start refuses it: of the console, a VTN, an ISO, a market. What is
left is allowed, as networks of their own carry it in many a plant, and warned of. Modbus has no TLS here: nothing in
the settings would mend it, and nothing is said.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from tieline.errors import ConfigError
from tieline.links.endpoint.openadr.callbacks import read_origins
from tieline.node.config import JournalSettings, Settings
from tieline.node.link_settings import LinkSettings


def in_the_clear(settings: Settings) -> list[str]:
    """Return what others on the way can read or speak for, each by its field, with its value and what would mend it."""
    links = settings.links
    return [*_dnp3(links), *_webhooks(links), *_brokers(links), *_journal(settings.journal)]


def is_here(host: str) -> bool:
    """Return whether what goes to a host stays on this machine.

    >>> is_here("127.0.0.2"), is_here("localhost"), is_here("0.0.0.0"), is_here("broker.example")
    (True, True, False, False)
    """
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.casefold() == "localhost"


def _dnp3(links: LinkSettings) -> Iterator[str]:
    for at, outstation in enumerate(links.dnp3):
        if outstation.tls is not None or is_here(outstation.host):
            continue
        path = f"$.links.dnp3[{at}]"
        open_to_all = [master.name for master in outstation.masters if not master.hosts]
        who = f", and whoever reaches the port may speak as {', '.join(open_to_all)}" if open_to_all else ""
        hosts = ", and of each master the hosts that it calls from" if open_to_all else ""
        yield (
            f"{path}.host = {outstation.host!r}: DNP3 is listened for in the clear: others on the way can read and "
            f"change it{who}: give {path}.tls{hosts}"
        )


def _webhooks(links: LinkSettings) -> Iterator[str]:
    for at, vtn in enumerate(links.openadr):
        for k, text in enumerate(vtn.callbacks):
            try:
                (origin,) = read_origins((text,))
            except ConfigError:
                continue  # a start refuses it
            if origin.scheme == "http" and not is_here(origin.host):
                yield (
                    f"$.links.openadr[{at}].callbacks[{k}] = {text!r}: webhooks go there in the clear, with what "
                    "devices are told and the token of who subscribed: give https"
                )


def _brokers(links: LinkSettings) -> Iterator[str]:
    for at, broker in enumerate(links.mqtt):
        if broker.tls_authority is None and not is_here(broker.host):
            path = f"$.links.mqtt[{at}]"
            yield (
                f"{path}.host = {broker.host!r}: every command and reading goes there in the clear, and others on the "
                f"way can change it: give {path}.tls_authority, or a broker on this machine (127.0.0.1)"
            )


def _journal(journal: JournalSettings) -> Iterator[str]:
    if not journal.url:
        return
    from tieline.store.postgres import Place

    try:
        place = Place(journal.url)
    except ConfigError:
        return  # a start refuses it
    if not place.wants_tls and (away := [host for host in place.hosts if not is_here(host)]):
        yield (
            f"$.journal.url = {place.name!r}: records may go to {', '.join(away)} in the clear: end it with "
            "?sslmode=verify-full"
        )
