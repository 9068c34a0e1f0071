"""A story's clock may run sixty times as fast as the line's: a master then has as long to confirm as on any other."""

import numpy as np
import pytest
from dnp3_desk import START_NS, SmallDesk

from tieline.links.grid.dnp3.binding import Binding, Group, Peer
from tieline.links.grid.dnp3.outstation import Dnp3Outstation
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.network import Network
from tieline.simulate.scada import Scada


class _Slow:
    """A line on which each write takes as long as a busy machine takes to come round to it."""

    def delay_s(self, now_s: float, size: int) -> float | None:
        return 0.2


@pytest.mark.parametrize("pace", [1.0, 60.0])
def test_a_reading_of_many_fragments_ends_whatever_the_pace_of_the_clock(pace: float) -> None:
    """44 groups take two fragments of 2,048 bytes and more; each waits for its confirm (IEEE 1815-2012, 4.2.2.4)."""
    groups = tuple(Group(f"group-{n}", 20 * n, 1e6, 1e6) for n in range(44))
    names = tuple(group.resource for group in groups)
    binding = Binding(
        10, groups, (Peer("dno", 1, may_read=names, may_operate=names),), host="tieline", keep_alive_s=300.0
    )

    async def main(loop: VirtualLoop) -> None:
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            clock = VirtualClock(loop, START_NS)
            outstation = Dnp3Outstation(binding, SmallDesk(), clock, supervisor, pace=pace)
            await outstation.start()
            scada = Scada("tieline", 20000, master=1, outstation=10, spawn=supervisor.spawn)
            await scada.connect()
            assert [scada.analog(group.at + 12) for group in groups] == [1e6] * 44, "each group's resting limit is read"
            await scada.close()
            await outstation.stop()
            assert not supervisor.failures

    run_virtual(main, Network(lambda host, port: _Slow()))
