"""Inverter settings of a running node: taken from people, handed to links, and what devices made of them recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from tieline.desk import inverters
from tieline.desk.inverter_facts import RefusedFor, Stands, Stood
from tieline.desk.inverters import SettingsView
from tieline.grid.inverter_settings import InverterSettings, SettingsSet
from tieline.node.runtime import Node
from tieline.resource.claim import Refusal


@runtime_checkable
class Adjusts(Protocol):
    """A link whose devices can be told what to follow by themselves."""

    def adjust(self, settings: Mapping[int, InverterSettings]) -> None:
        """Have devices follow these settings by themselves, by row, and all others what their owners had."""
        ...

    def adjusted(self) -> dict[int, tuple[Stood, ...]]:
        """Return how the functions of each device stand, by row; those that nobody asked for are left out."""
        ...


class InverterSettingsKeeper:
    """Keeps the inverter settings of a node's feeders."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._told: tuple[object, ...] | None = None
        node.after_beat.append(self._follow)

    async def send(self, made: SettingsSet, by: str) -> SettingsView | Refusal:
        """Take a set, all or nothing; durable when it returns, and told to devices with the beat that follows."""
        node = self._node
        entries, answer = inverters.decide_send(node.state, made, by)
        await node.desk.commit(entries)
        if entries:
            node.desk.changed(entries[0].id)
        if isinstance(answer, Refusal):
            return answer
        return next(view for view in self.views() if view.feeder == answer.made.feeder)

    async def withdraw(self, feeder: str, by: str) -> bool:
        """Take a feeder's settings back, and return whether there were any."""
        node = self._node
        entries, found = inverters.decide_withdraw_settings(node.state, feeder, by)
        await node.desk.commit(entries)
        if entries:
            node.desk.changed(entries[0].id)
        return found

    def views(self) -> list[SettingsView]:
        """Return every feeder's newest set."""
        return inverters.views_of(self._node.state)

    def touched(self, made: SettingsSet) -> int:
        """Return how many devices a set is about."""
        return inverters.touched(self._node.state, made)

    async def _follow(self) -> None:
        """Hand settings to links where they are others than links were told, and record how devices stand."""
        node, state = self._node, self._node.state
        links = {name: link for name, link in node.desk._links.items() if isinstance(link, Adjusts)}
        sets = sorted(state.settings.items())
        stands = (tuple(links), tuple((name, known.record, known.withdrawn_by) for name, known in sets))
        if stands != self._told:
            wishes = inverters.wishes(state)
            for link in links.values():
                link.adjust(wishes)
            self._told = stands
        if not state.settings:
            return
        told = dict[int, tuple[Stood, ...]]()
        for link in links.values():
            told |= link.adjusted()
        for row, wish in inverters.wishes(state).items():
            if row not in told:
                told[row] = tuple(
                    Stood(name, Stands.REFUSED, RefusedFor.NO_LINK, str(RefusedFor.NO_LINK))
                    for name in inverters.functions_of(wish)
                )
        await node.desk.commit(inverters.decide_stood(state, told, node.clock.now_ns()))
