"""What is learnt of devices is kept beside the work: a disk that fails stops no beat, and is told once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from test_trader import Market, play

from tieline.node.learnt import Learnt
from tieline.node.trader import NodeTrader
from tieline.store.learnt import About, names_of, save
from tieline.times import MINUTE_NS


def test_a_disk_that_takes_nothing_is_said_once_and_what_was_learnt_is_kept_once_it_does(tmp_path: Path) -> None:
    path, said = tmp_path / "gone" / "learnt.bin", []

    async def scene(trader: NodeTrader, market: Market) -> None:
        node = trader.node
        with ThreadPoolExecutor(1) as beside:
            learnt = Learnt(path, node.state, said.append)
            learnt.keep(node, beside)
            await node.beat()
            assert said == [], "nobody was heard: there is nothing to keep"
            node.state.fleet.taken_at_ns[0] = node.clock.now_ns()
            node.state.base_w[0] = -7_000.0
            for _ in range(3):
                await node.beat()
                node.clock.at_ns += MINUTE_NS
            assert len(said) == 1
            assert "is not kept: [Errno 2] No such file or directory" in said[0]
            path.parent.mkdir()
            await node.beat()
            node.state.base_w[0] = 0.0
            assert Learnt(path, node.state, said.append).take() == 1
            assert node.state.base_w[0] == -7_000.0

    play(tmp_path, scene)
    assert len(said) == 1


@pytest.mark.parametrize("what", ["foreign", "cut", "empty", "not a number"])
def test_a_file_that_can_not_be_used_is_said_and_everything_is_learnt_anew(tmp_path: Path, what: str) -> None:
    path, said = tmp_path / "learnt.bin", []

    async def scene(trader: NodeTrader, market: Market) -> None:
        state = trader.node.state
        ids = state.fleet.ids
        names = names_of(["other"] * len(ids) if what == "foreign" else ids, len(ids))
        base_w = np.full(len(ids), np.nan if what == "not a number" else 1.0)
        known = np.ones(len(ids), np.bool_)
        save(path, {"known": known, "base_w": base_w}, About(trader.node.clock.now_ns(), len(ids), names))
        if what in ("cut", "empty"):
            path.write_bytes(path.read_bytes()[:-20] if what == "cut" else b"")
        learnt = Learnt(path, state, said.append)
        learnt.take()
        learnt.hold_base(trader.node.clock.now_ns())
        assert (state.base_w == 0.0).all()

    play(tmp_path, scene)
    assert len(said) == 1
    assert "learnt anew" in said[0]
