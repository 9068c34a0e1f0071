"""A refusal that a program reads names the option that was given and its value, whatever part of a file it is about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tieline.node.cli import main


def refused(*words: str) -> dict[str, str | None]:
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == 2, done.output
    told: dict[str, str | None] = json.loads(done.stderr.splitlines()[-1])
    return told


@pytest.mark.parametrize("is_joined", [False, True])
@pytest.mark.parametrize(
    "words",
    [
        ("replay",), ("why", "battery-1"), ("sql", "SELECT 1"), ("export", "Audited", "out.csv"), ("opt-out", "battery-1"),
        ("contracts", "list"), ("statements", "served", "--out", "x.csv"), ("capability",), ("forecast",), ("move",),
    ],
)  # fmt: skip
def test_a_folder_that_lacks_a_file_is_named_by_its_option(
    tmp_path: Path, words: tuple[str, ...], is_joined: bool
) -> None:
    folder = str(tmp_path / "nowhere")
    told = refused(*words, *((f"--data={folder}",) if is_joined else ("--data", folder)))
    assert (told["field"], told["value"]) == ("--data", folder)
    assert told["limit"] and told["limit"] in str(told["error"]) and folder not in told["limit"].split(":")[0]


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (("demo", "--devices", "x"), "--devices", "x"),
        (("demo", "--seed=-1"), "--seed", "-1"),
        (("statements", "write", "x", "--book", "b", "--for", "foo", "--out", "y"), "--for", "foo"),
        (("demo", "--headless", "--port", "99999"), "--port", "99999"),
        (("replay", "--dat", "works"), "--dat", "works"),
        (("statements", "answer", "d", "perhaps", "--party", "x", "--book", "b"), "answer", "perhaps"),
    ],
)
def test_a_misspelt_value_is_given_back(words: tuple[str, ...], field: str, value: str) -> None:
    told = refused(*words)
    assert (told["field"], told["value"]) == (field, value)


@pytest.mark.parametrize("words", [("statements", "list"), ("export", "LineSettled")])
def test_what_was_not_given_has_no_value(words: tuple[str, ...]) -> None:
    assert refused(*words)["value"] is None


def test_a_file_that_is_an_argument_is_the_value(tmp_path: Path) -> None:
    told = refused("import", "--json", str(tmp_path / "none.csv"), "--data", str(tmp_path))
    assert told["field"] is None
    assert (told["value"], told["limit"]) == (str(tmp_path / "none.csv"), "no such file")
