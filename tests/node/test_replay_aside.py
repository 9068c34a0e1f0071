"""Who reads a journal along while it grows has at its end what a replay in one go has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tieline.errors import InvariantError
from tieline.node.demo import run_headless
from tieline.node.promises_replay import Looked
from tieline.node.rebuilt import Law, state_of
from tieline.node.replay_aside import ReplayAside
from tieline.rim.aside import Aside
from tieline.simulate.territory import Territory, build
from tieline.store.journal import SqliteJournal
from tieline.times import HOUR_NS

COUNT, SEED = 60, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("story")
    run_headless(COUNT, SEED, "heatwave", 4 * HOUR_NS, lambda line: None, home)
    return home


def place() -> Territory:
    return build(COUNT, np.random.default_rng([SEED, 0]))


@pytest.mark.parametrize("cuts", [0, 1, 7, 50])
def test_however_often_it_is_told_to_go_on_it_ends_with_the_same_state_and_has_looked_at_the_same(
    folder: Path, tmp_path: Path, cuts: int
) -> None:
    """The second journal is filled while it is read: the child sees no more of it than is recorded by then."""
    told, grows = SqliteJournal(folder / "journal.db"), SqliteJournal(tmp_path / "journal.db")
    records, territory = list(told.replay()), place()
    aside = Aside.begun("tieline.node.replay_aside", "the replay's")
    assert aside is not None
    try:
        law = Law(territory.jurisdiction)
        along = ReplayAside(aside, territory.fleet, law, tmp_path / "journal.db")
        for part in np.array_split(np.arange(len(records)), cuts + 1):
            grows.append([records[at] for at in part])
            if cuts:
                along.follow(grows.last_seq)
        found = along.again(grows.last_seq)
        looked = Looked()
        state = state_of(place().fleet, law, told, looked.look)
        assert found.digest == found.state.digest() == state.digest()
        assert found.looked == looked and looked.settled > 0
        assert (found.state.claims.count(), found.state.claims.placed) == (state.claims.count(), state.claims.placed)
        assert along.again(grows.last_seq).digest == found.digest, "nothing is done twice"
    finally:
        aside.end()
        for journal in (told, grows):
            journal.close()


def test_a_replay_whose_process_is_killed_says_so(tmp_path: Path) -> None:
    aside = Aside.begun("tieline.node.replay_aside", "the replay's")
    assert aside is not None
    territory = place()
    along = ReplayAside(aside, territory.fleet, Law(territory.jurisdiction), tmp_path / "journal.db")
    aside.end()
    with pytest.raises(InvariantError, match="the replay's process has ended"):
        along.again(1)
