"""What devices were told before a restart, and may do still: handed to their link, so that it lets go of who holds on."""

from pathlib import Path

import numpy as np
from click.testing import CliRunner

from tieline.node.cli import main
from tieline.node.config import load_config
from tieline.node.links import remembered
from tieline.node.serve import node_of
from tieline.resource.command import Stage
from tieline.rim.supervise import Supervisor
from tieline.times import DAY_NS, HOUR_NS, SECOND_NS

NOW_NS = 1_700_000_000 * SECOND_NS


def test_what_was_done_lately_and_binds_is_remembered_and_nothing_else(tmp_path: Path) -> None:
    folder, run = tmp_path / "works", CliRunner()
    assert run.invoke(main, ["init", str(folder)]).exit_code == 0
    rows = [f"home-{n},battery,5000,5000,10000,feeder-1,site-{n},pool-1" for n in range(7)]
    table = "id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool\n" + "\n".join(rows) + "\n"
    (tmp_path / "devices.csv").write_text(table)
    assert run.invoke(main, ["import", str(tmp_path / "devices.csv"), "--data", str(folder)]).exit_code == 0
    node = node_of(folder, load_config(folder / "tieline.toml"), Supervisor(np.random.default_rng(1)), None)
    state, told = node.state, node.state.commands
    state.command_batches.append("commands:1")
    told.batch[:], told.stage[:], told.valid_until_ns[:] = 0, int(Stage.DONE), NOW_NS - HOUR_NS
    told.target_w[0] = 2_000.0
    told.high_w[1] = 1_500.0  # a limit alone
    told.target_w[2], told.stage[2] = 2_000.0, int(Stage.UNCONFIRMED)  # what became of it is not known
    told.target_w[3], told.valid_until_ns[3] = 2_000.0, NOW_NS - 2 * DAY_NS  # long over
    told.target_w[4], told.batch[4] = 2_000.0, -1  # never told
    told.low_w[5], told.high_w[5] = -5_000.0, 5_000.0  # its own rating: it runs by itself
    told.target_w[6], told.valid_until_ns[6] = 2_000.0, NOW_NS + HOUR_NS  # still in force
    found = remembered(state, list(range(7)), NOW_NS)
    assert [int(batch.rows[0]) for batch in found] == [0, 1, 6]
    assert {batch.id for batch in found} == {"commands:1"}
    assert [float(batch.high_w[0]) for batch in found][1] == 1_500.0
    node.journal.close()
