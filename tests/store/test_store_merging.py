"""A second import changes what it names, keeps every row where it was, and leaves the rest."""

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tieline.errors import ConfigError
from tieline.node.cli import main
from tieline.store.importing import read_fleet
from tieline.store.lock import FolderLock
from tieline.store.merging import merge

names = st.lists(st.integers(0, 12), unique=True, min_size=1)


def table(path: Path, numbers: list, rating: float, feeder: str = "feeder-{}") -> Path:
    with path.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["id", "kind", "max_inject_w", "feeder", "pool"])
        for n in numbers:
            writer.writerow([f"b{n}", "battery", rating, feeder.format(n % 3), "pool-1"])
    return path


@given(first=names, second=names)
def test_rows_and_groups_keep_their_place_and_the_tables_values_hold(
    tmp_path_factory: pytest.TempPathFactory, first: list, second: list
) -> None:
    folder = tmp_path_factory.mktemp("m")
    old = read_fleet(table(folder / "one.csv", first, 1_000.0))
    new = read_fleet(table(folder / "two.csv", second, 2_000.0, "other-{}"))
    made = merge(old, new)
    assert made.fleet.ids[: len(old)] == old.ids
    assert made.fleet.groups[: len(old.groups)] == old.groups
    assert made.added == len(set(second) - set(first))
    assert made.changed == len(set(second) & set(first))
    for n in set(first) | set(second):
        row = made.fleet.row(f"b{n}")
        assert made.fleet.max_inject_w[row] == (2_000.0 if n in second else 1_000.0)
        assert row in made.fleet.leaves(f"{'other' if n in second else 'feeder'}-{n % 3}")
    assert len(made.fleet.leaves("pool-1")) == len(made.fleet)


def test_the_same_table_twice_changes_nothing(tmp_path: Path) -> None:
    run, path = CliRunner(), table(tmp_path / "t.csv", [3, 1, 2], 1_000.0)
    assert run.invoke(main, ["init", str(tmp_path / "d")]).exit_code == 0
    outputs = [
        run.invoke(main, ["import", str(path), "--data", str(tmp_path / "d"), "--json"]).output for _ in range(2)
    ]
    assert '"added": 3' in outputs[0]
    assert '"added": 0, "changed": 0, "unchanged": 3' in outputs[1]
    assert outputs[0].split('"digest"')[1] == outputs[1].split('"digest"')[1]


def test_a_device_that_is_a_group_elsewhere_is_refused(tmp_path: Path) -> None:
    old = read_fleet(table(tmp_path / "one.csv", [1], 1.0, "b7"))
    new = read_fleet(table(tmp_path / "two.csv", [7], 1.0))
    with pytest.raises(ConfigError, match="'b7' is a feeder in the registry"):
        merge(old, new)


def test_a_folder_that_is_served_is_not_imported_into(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", [1], 1.0)
    assert CliRunner().invoke(main, ["init", str(tmp_path / "d")]).exit_code == 0
    lock = FolderLock(tmp_path / "d")
    try:
        run = CliRunner().invoke(main, ["import", str(path), "--data", str(tmp_path / "d")])
    finally:
        lock.release()
    assert run.exit_code == 2
    assert "in use by process" in run.stderr


def test_a_folder_that_is_none_is_not_made_one_and_tieline_init_is_named(tmp_path: Path) -> None:
    path, nodir = table(tmp_path / "t.csv", [1], 1.0), tmp_path / "nodir"
    run = CliRunner().invoke(main, ["import", str(path), "--data", str(nodir)])
    assert run.exit_code == 2
    assert f"tieline init {nodir}" in run.stderr
    assert not nodir.exists()


@pytest.mark.parametrize("word", ["b 1/../x", "../../etc", "-b1", "b%2F1", "b\x001", "b" * 129, "bät-1"])
def test_an_id_that_no_address_or_file_can_hold_is_refused_with_its_row(tmp_path: Path, word: str) -> None:
    path = tmp_path / "t.csv"
    for line, named in ((f"{word},battery,5000,", "id"), (f"b1,battery,5000,{word}", "feeder")):
        path.write_text(f"id,kind,max_inject_w,feeder\nok-1,battery,1,f-1\n{line}\n", encoding="utf-8")
        with pytest.raises(ConfigError, match=rf"row 3: {named} = .*: give 1 to 128 of A-Z a-z 0-9"):
            read_fleet(path)


@pytest.mark.parametrize("name", ["latin.csv", "broken.parquet"])
def test_a_file_that_is_no_table_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes("id,kind\nbür,battery\n".encode("latin-1"))
    run = CliRunner().invoke(main, ["import", str(path), "--data", str(tmp_path / "d")])
    assert run.exit_code == 2
    assert len(run.stderr.strip().splitlines()) == 1
