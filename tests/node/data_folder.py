"""A data folder with a fleet and keys, as tests of a server's start need it."""

from pathlib import Path

from click.testing import CliRunner

from tieline.node.cli import main
from tieline.rim.certificates import Authority
from tieline.rim.clock import SystemClock


def folder_with(base: Path, table: str, links: str = "") -> Path:
    """Return a new folder with a table's devices, and links beside the settings that it begins with."""
    folder, run = base / "works", CliRunner()
    assert run.invoke(main, ["init", str(folder)]).exit_code == 0
    (base / "devices.csv").write_text(table)
    done = run.invoke(main, ["import", str(base / "devices.csv"), "--data", str(folder)])
    assert done.exit_code == 0, done.output
    with (folder / "tieline.toml").open("a") as settings:
        settings.write(links)
    return folder


def data_folder(base: Path, table: str) -> tuple[Path, Authority]:
    """Return a new folder with a table's devices, and its authority: `we` is certified, `old` no longer is."""
    folder = folder_with(base, table)
    authority = Authority(folder, SystemClock())
    authority.issue("we", "127.0.0.1")
    authority.issue("old", "127.0.0.1", days=-1, begins_days=-30)
    return folder, authority
