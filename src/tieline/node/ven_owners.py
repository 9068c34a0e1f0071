"""What VENs say of their owners, as asks of the desk: an opt-out at an end-point places an owner's need.

An owner may opt out at the console or at the end-point itself, and either counts: the device is free at once, and from
then on the desk counts it out, in the event that runs too. A VEN's word is a source of its own, so that nobody at the
console takes it back, and it is placed anew where somebody at the console came back in while the VEN is still out.
"""

from __future__ import annotations

from tieline.desk.ports import Ask
from tieline.ids import derive
from tieline.links.endpoint.openadr.link import OpenAdrLink
from tieline.node.runtime import Node
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.level import Level
from tieline.times import FOREVER_NS

PROGRAM = "opt-out"


def source_of(resource: str) -> str:
    """Return in whose name a VEN's opt-out is asked.

    >>> source_of("home-1")
    'ven:home-1'
    """
    return f"ven:{resource}"


class VenOwners:
    """Keeps the opt-outs at the desk what the VENs of a link say."""

    def __init__(self, node: Node, link: OpenAdrLink) -> None:
        self._node, self._said = node, dict[int, bool]()
        link.on_owner = self._hear
        node.after_beat.append(self._tell)

    def _hear(self, row: int, is_out: bool) -> None:
        self._said[row] = is_out
        self._node.wake()

    async def _tell(self) -> None:
        for row, is_out in list(self._said.items()):
            if is_out:  # kept, so that it stands for as long as the VEN says so
                await self._out(row)
                continue
            await self._back(row)
            if not self._said[row]:  # its word may be another by now
                del self._said[row]

    async def _out(self, row: int) -> None:
        state, now_ns = self._node.state, self._node.clock.now_ns()
        if state.opted_out[row]:
            return
        resource = state.fleet.id_of(row)
        source = source_of(resource)
        version = max(now_ns, state.versions.get((source, PROGRAM, resource, Quantity.CONNECT.value), 0) + 1)
        await self._node.desk.ask(
            Ask(
                source, "owner", PROGRAM, Level.OWNER_NEED, resource, Quantity.CONNECT, ClaimKind.GATE, version,
                now_ns, FOREVER_NS, because="the owner opted out at the end-point",
            )
        )  # fmt: skip

    async def _back(self, row: int) -> None:
        resource = self._node.state.fleet.id_of(row)
        frame = derive("ven-opt", resource, self._node.clock.now_ns())
        why = "the owner opted in at the end-point"
        await self._node.desk.withdraw(source_of(resource), PROGRAM, resource, Quantity.CONNECT, frame, why)
