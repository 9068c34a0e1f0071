"""An outstation with masters on virtual time."""

from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from dnp3_desk import START_NS, SmallDesk
from py1815.control import CommandStatus

from tieline.links.grid.dnp3.binding import Binding, Group, Peer
from tieline.links.grid.dnp3.outstation import Dnp3Outstation
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.network import Network
from tieline.simulate.scada import Scada

NORTH, SOUTH = 0, 50


BOTH = ("pool:north", "pool:south")


OK = CommandStatus.SUCCESS


BINDING = Binding(
    address=10,
    host="tieline",
    port=20000,
    groups=(Group("pool:north", NORTH, 5e6, 5e6), Group("pool:south", SOUTH, 5e6, 5e6)),
    peers=(
        Peer("dno", 1, may_read=BOTH, may_operate=BOTH, ceiling="GRID_EMERGENCY"),
        Peer("dso", 2, may_read=BOTH, may_operate=BOTH, ceiling="GRID_EMERGENCY"),
        Peer("guest", 3, may_read=("pool:south",), may_operate=("pool:south",), ceiling="UTILITY", high_w=1e6),
    ),
)


class Room:
    """An outstation and its masters on one virtual loop."""

    def __init__(self, loop: VirtualLoop, supervisor: Supervisor, desk: SmallDesk, binding: Binding) -> None:
        self.desk, self.clock, self.supervisor = desk, VirtualClock(loop, START_NS), supervisor
        self.outstation = Dnp3Outstation(binding, desk, self.clock, supervisor)

    async def master(self, address: int = 1, connect: bool = True) -> Scada:
        scada = Scada("tieline", 20000, master=address, outstation=10, spawn=self.supervisor.spawn)
        if connect:
            await scada.connect()
        return scada

    async def publish(self, **how: Any) -> None:
        await self.outstation.publish(self.desk.snapshot(now_ns=self.clock.now_ns(), **how))


def play(
    scene: Callable[[Room], Awaitable[None]],
    desk: SmallDesk | None = None,
    binding: Binding = BINDING,
    network: Network | None = None,
) -> None:
    async def main(loop: VirtualLoop) -> None:
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            room = Room(loop, supervisor, desk or SmallDesk(), binding)
            await room.outstation.start()
            await room.publish()
            await scene(room)
            await room.outstation.stop()
            assert not supervisor.failures

    run_virtual(main, network)
