"""Operating envelopes of a running node: taken from people, placed as intervals begin, told to end-points ahead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from tieline.desk import operating
from tieline.desk.operating import EnvelopesView, Foretold
from tieline.grid.envelope_file import EnvelopeSet
from tieline.node.principals import PEOPLE
from tieline.node.runtime import Node
from tieline.resource.claim import Refusal

WHO = PEOPLE["operator"]


@runtime_checkable
class Foretells(Protocol):
    """A link that can tell an end-point beforehand within what it is to stay."""

    async def foretell(self, envelopes: Mapping[int, tuple[Foretold, ...]]) -> None:
        """Let end-points know these and no others, by row; told again what they know nothing is sent."""
        ...


class OperatingEnvelopes:
    """Keeps the operating envelopes of a node's feeders."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._told: tuple[tuple[str, str, bool], ...] | None = None
        node.first_in_beat.append(self._place)
        node.after_beat.append(self._foretell)
        node.next_due.append(lambda now_ns: operating.next_edge_ns(node.state, now_ns))

    async def take(self, made: EnvelopeSet, by: str) -> EnvelopesView | Refusal:
        """Take a set, all or nothing; durable when it returns, and told to devices with the beat that follows."""
        node, now_ns = self._node, self._node.clock.now_ns()
        entries, answer = operating.decide_take(node.state, made, WHO, by, now_ns)
        await node.desk.commit(entries)
        if entries:
            node.desk.changed(entries[0].id)
        if isinstance(answer, Refusal):
            return answer
        return next(view for view in self.views() if view.feeder == answer.feeder)

    async def withdraw(self, feeder: str, by: str) -> bool:
        """Take a feeder's envelopes back, and return whether there were any."""
        node = self._node
        entries, found = operating.decide_withdraw_envelopes(node.state, feeder, by, node.clock.now_ns())
        await node.desk.commit(entries)
        if entries:
            node.desk.changed(entries[0].id)
        return found

    def views(self) -> list[EnvelopesView]:
        """Return every feeder's newest set."""
        return operating.views_of(self._node.state, self._node.clock.now_ns())

    def touched(self, made: EnvelopeSet) -> int:
        """Return how many devices a set is about."""
        return operating.touched(self._node.state, made)

    async def _place(self, now_ns: int) -> None:
        while entries := operating.decide_place(self._node.state, WHO, now_ns):
            await self._node.desk.commit(entries)

    async def _foretell(self) -> None:
        """Tell links what is to come, where that is not what they were told; a start tells it anew."""
        node, now_ns = self._node, self._node.clock.now_ns()
        sets = sorted(node.state.envelopes.items())
        stands = tuple((name, one.record, bool(one.withdrawn_by) or one.end_ns[-1] <= now_ns) for name, one in sets)
        if stands == self._told:
            return
        to_come = operating.foretold(node.state, now_ns)
        for link in node.desk._links.values():
            if isinstance(link, Foretells):
                await link.foretell(to_come)
        self._told = stands
