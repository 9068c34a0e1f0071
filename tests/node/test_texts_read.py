"""Files that people write are read as any editor saves them: with a byte order mark or without."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from data_folder import folder_with
from hypothesis import given
from hypothesis import strategies as st
from test_served_contracts import CONTRACTS

from tieline.console.auth.oidc import OidcSettings
from tieline.errors import ConfigError
from tieline.links.device.mqtt.link import MqttSettings, hello
from tieline.node.cli import main
from tieline.node.config import JournalSettings, load_config
from tieline.node.journals import password_of
from tieline.rim.texts import text_in

TABLE = "id,kind,pool,max_inject_w,max_absorb_w\nload-1,interruptible_load,pool-1,0,5000\n"
BOM = codecs.BOM_UTF8


def provider(file: Path) -> object:
    return OidcSettings("https://id.example", "t", client_secret_file=str(file)).client_secret


PASSWORDS: dict[str, Callable[[Path], object]] = {
    "journal": lambda file: password_of(file.parent, JournalSettings(password_file=file.name), {}),
    "provider": provider,
    "broker": lambda file: hello(MqttSettings("127.0.0.1", 1883, {}, user="u", password_file=str(file))).password,
}


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\ufeff")))
def test_a_text_is_the_same_with_a_byte_order_mark_and_without_and_by_any_end_of_line(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = tmp_path_factory.mktemp("text") / "a.toml"
    for ends in ("\n", "\r\n"):
        for mark in (b"", BOM):
            file.write_bytes(mark + text.replace("\n", ends).encode())
            assert text_in(file) == text


@pytest.mark.parametrize("how", ["utf-16", "utf-16-be", "latin-1"])
def test_a_text_of_another_encoding_is_refused_with_its_file_and_what_to_do(tmp_path: Path, how: str) -> None:
    file = tmp_path / "tieline.toml"
    mark = codecs.BOM_UTF16_BE if how == "utf-16-be" else b""
    file.write_bytes(mark + '# ours\nname = "Zürich"\n'.encode(how))
    with pytest.raises(ConfigError, match=r"tieline\.toml: .*save it as UTF-8") as refused:
        load_config(file)
    assert ("line 2" in str(refused.value)) is (how == "latin-1")


def test_a_folder_whose_settings_and_contracts_begin_with_a_byte_order_mark_is_healthy(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, TABLE)
    (folder / "contracts.toml").write_bytes(BOM + CONTRACTS.encode())
    (folder / "tieline.toml").write_bytes(
        BOM + b'name = "marked"\r\nport = 0\r\n[contracts]\r\nfile = "contracts.toml"\r\nwithout = "serve"\r\n'
    )
    assert load_config(folder / "tieline.toml").name == "marked"
    done = CliRunner().invoke(main, ["doctor", "--data", str(folder)])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("read", PASSWORDS.values(), ids=PASSWORDS)
def test_a_byte_order_mark_is_no_part_of_a_password(tmp_path: Path, read: Callable[[Path], object]) -> None:
    (tmp_path / "plain").write_bytes(b"s3cret\n")
    (tmp_path / "marked").write_bytes(BOM + b"s3cret\r\n")
    assert read(tmp_path / "marked") == read(tmp_path / "plain")
    assert read(tmp_path / "plain") in ("s3cret", b"s3cret")
