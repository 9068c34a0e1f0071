"""The id by which a folder signs in at a broker: its own over restarts, and nobody else's."""

import re
import shutil
from pathlib import Path

import pytest

from tieline.errors import ConfigError
from tieline.node.broker_id import FILE, client_id_of


def test_each_folder_and_each_link_has_an_id_that_every_broker_takes(tmp_path: Path) -> None:
    """MQTT 3.1.1, 3.1.3.1: a server must allow ids of 1 to 23 bytes of 0-9, a-z, A-Z."""
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders:
        folder.mkdir()
    made = [client_id_of(folder, link) for folder in folders for link in ("mqtt", "plugs")]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch("[0-9a-zA-Z]{1,23}", one) for one in made)
    assert [client_id_of(folder, link) for folder in folders for link in ("mqtt", "plugs")] == made
    assert (folders[0] / FILE).stat().st_mode & 0o077 == 0


def test_it_is_the_same_by_whatever_path_the_folder_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    assert len({client_id_of(path, "mqtt") for path in (tmp_path / "a", tmp_path / "link", Path("a"))}) == 1


def test_a_copy_of_a_folder_beside_it_is_another_desk(tmp_path: Path) -> None:
    (tmp_path / "production").mkdir()
    made = client_id_of(tmp_path / "production", "mqtt")
    shutil.copytree(tmp_path / "production", tmp_path / "staging")
    assert client_id_of(tmp_path / "staging", "mqtt") != made


@pytest.mark.parametrize("held", [b"", b"desk", b"\xff\x00" * 99])
def test_whatever_its_file_holds_there_is_an_id_that_stays(tmp_path: Path, held: bytes) -> None:
    (tmp_path / FILE).write_bytes(held)
    assert re.fullmatch("tieline[a-z0-9]{16}", client_id_of(tmp_path, "mqtt"))
    assert len({client_id_of(tmp_path, "mqtt") for _ in range(3)}) == 1
    assert (tmp_path / FILE).read_bytes()


def test_a_file_that_cant_be_read_is_refused_by_its_path(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(ConfigError, match=FILE):
        client_id_of(tmp_path, "mqtt")
