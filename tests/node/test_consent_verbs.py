"""An owner's word on a folder whose server is stopped: recorded, told, and found by the next start and by a replay."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result
from test_serve_trades import made
from test_served_contracts import NEW, contracted

from tieline.node.cli import main
from tieline.node.config import load_config
from tieline.node.serve import node_of
from tieline.rim.supervise import Supervisor
from tieline.store.lock import FolderLock


def run(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["contracts", *words, "--data", str(folder), "--json"])


def out_at_start(folder: Path) -> list[str]:
    """Return the devices that are out as a server starts on the folder, and that a replay tells the same."""

    async def play() -> list[str]:
        async with Supervisor(np.random.default_rng(0)) as supervisor:
            node = node_of(folder, load_config(folder / "tieline.toml"), supervisor, None)
            await node.beat()
            state = node.state
            again = CliRunner().invoke(main, ["replay", "--data", str(folder), "--json"])
            assert json.loads(again.output)["state"] == state.digest()
            return [state.fleet.id_of(int(row)) for row in np.flatnonzero(state.opted_out)]

    return asyncio.run(play())


def test_a_word_that_is_said_by_a_verb_holds_at_the_next_start_and_in_a_replay(tmp_path: Path) -> None:
    folder = contracted(made(tmp_path, 9))
    (before,) = json.loads(run(folder, "list").output)["contracts"]
    assert (before["calls"], before["most_calls"], before["out_because"]) == (0, 10, "")
    taken = run(folder, "withdraw", "mill-2026", "--because", "bob moves out", "--by", "bob")
    assert taken.exit_code == 0, taken.output
    assert json.loads(taken.output)["out"] == ["load-1"]
    assert out_at_start(folder) == ["load-1"]
    (after,) = json.loads(run(folder, "list").output)["contracts"]
    assert [word["by"] for word in after["words"]] == ["bob"]
    again = run(folder, "withdraw", "mill-2026")
    assert again.exit_code != 0 and "no consent left" in again.output
    assert run(folder, "consent", "mill-2026", "--evidence", NEW).exit_code == 0
    assert out_at_start(folder) == []


def test_a_verb_leaves_a_folder_to_the_server_that_holds_it(tmp_path: Path) -> None:
    folder = contracted(made(tmp_path, 9))
    lock = FolderLock(folder)
    try:
        refused = run(folder, "withdraw", "mill-2026")
    finally:
        lock.release()
    assert refused.exit_code != 0
    assert json.loads(run(folder, "list").output)["contracts"][0]["words"] == []


def test_a_folder_without_contracts_says_so(tmp_path: Path) -> None:
    folder = made(tmp_path, 9)
    assert "holds no contracts" in run(folder, "list").output
