"""A data folder with a fleet and keys, as tests of a server's start need it."""

from pathlib import Path

from click.testing import CliRunner

from tieline.node.cli import main
from tieline.rim.certificates import Authority
from tieline.rim.clock import SystemClock


def data_folder(base: Path, table: str) -> tuple[Path, Authority]:
    """Return a new folder with a table's devices, and its authority: `we` is certified, `old` no longer is."""
    folder, run = base / "works", CliRunner()
    assert run.invoke(main, ["init", str(folder)]).exit_code == 0
    (base / "devices.csv").write_text(table)
    assert run.invoke(main, ["import", str(base / "devices.csv"), "--data", str(folder)]).exit_code == 0
    authority = Authority(folder, SystemClock())
    authority.issue("we", "127.0.0.1")
    authority.issue("old", "127.0.0.1", days=-1, begins_days=-30)
    return folder, authority
