"""Every code block in README and docs is executed, so that no example can rot."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tieline.node.config import load_config

ROOT = Path(__file__).parents[2]
LONG_BLOCKS = {"docs/do/backtest.md-3", "docs/do/clear-a-market.md-1", "docs/do/plan-a-pool.md-4"}
LONG_CONSOLES = {"docs/do/backtest.md", "docs/explain/world.md"}
LONG_BENCHES = {"home", "inverter", "likely", "mixed", "offer-validation", "pool"}
"""What takes many seconds: `make docs` runs it with all the others, and so does `make long`."""
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"```\w+ (\S+)\n")
QUICK_BENCH = re.compile(r"tieline bench (\S+) --quick --json")
Ran = Callable[[str], subprocess.CompletedProcess[str]]
MAKE_TARGETS = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)


def blocks(language: str) -> list:
    """Return the blocks of a language; one of Python that imports nothing goes on with what the one above it made."""
    found: list[tuple[Path, str, str]] = []
    for page in PAGES:
        for number, match in enumerate(BLOCK.finditer(page.read_text(encoding="utf-8"))):
            if match[1] != language:
                continue
            if language == "python" and "import " not in match[2]:
                assert found and found[-1][0] == page, f"{page.name}: a block without imports goes on from none"
                page, code, name = found.pop()
                found.append((page, f"{code}\n{match[2]}", f"{name}-{number}"))
            else:
                found.append((page, match[2], f"{page.relative_to(ROOT)}-{number}"))
    return [pytest.param(page, code, id=name, marks=long_if(name in LONG_BLOCKS)) for page, code, name in found]


def long_if(takes_long: bool) -> tuple[pytest.MarkDecorator, ...]:
    return (pytest.mark.long,) if takes_long else ()


@pytest.mark.parametrize(("page", "code"), blocks("python"))
def test_every_python_block_runs(page: Path, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if "tieline.plots" in code:
        pytest.importorskip("matplotlib", reason="the extra `plot` is not installed")
    exec(compile(code, str(page), "exec"), {"__name__": "__docs__"})  # our own docs


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name, marks=long_if(str(page.relative_to(ROOT)) in LONG_CONSOLES))
        for page in PAGES
        if "```console" in page.read_text(encoding="utf-8")
    ],
)
def test_every_console_block_of_a_page_runs_in_order(page: Path, tmp_path: Path) -> None:
    """Lines that begin with `$ ` are run in one folder; each must exit 0. `make` lines must name a target.

    A quick bench leaves nothing behind for the lines after it, and is run once, by a test of its own.
    Lines under one are what it prints, each whole and in this order, others may stand between; `...` is anything.
    A block that names a file behind its language is written there in its turn, as a reader does who copies the page.
    """
    targets = MAKE_TARGETS.findall((ROOT / "Makefile").read_text(encoding="utf-8"))
    env = dict(os.environ, PYTHONPATH=str(ROOT / "src"))
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        if file := NAMED.match(block[0]):
            (tmp_path / file[1]).write_text(block[2], encoding="utf-8")
        if block[1] == "console":
            run_lines(page, block[2], tmp_path, targets, env)


def run_lines(page: Path, block: str, tmp_path: Path, targets: list[str], env: dict[str, str]) -> None:
    for line, shown in asked_and_shown(block):
        words = shlex.split(line, comments=True)
        if words[0] == "make":
            assert words[1] in targets, f"{page.name}: `make {words[1]}` is no target"
            continue
        if QUICK_BENCH.fullmatch(line):
            assert not shown, f"{page.name}: {line}: figures differ from run to run"
            continue
        if words[0] == "tieline":
            words = [sys.executable, "-m", "tieline", *words[1:]]
        done = subprocess.run(
            words, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{page.name}: {line}\n{done.stdout}"
        missing = not_printed(shown, done.stdout)
        assert missing is None, f"{page.name}: {line}\ndoes not print {missing!r}, but\n{done.stdout}"


def quick_benches() -> list:
    told = {
        name
        for page in PAGES
        for name in re.findall(r"^\$ " + QUICK_BENCH.pattern + "$", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert told > LONG_BENCHES
    return [pytest.param(name, marks=long_if(name in LONG_BENCHES)) for name in sorted(told)]


@pytest.mark.parametrize("name", quick_benches())
def test_every_quick_bench_that_a_page_names_runs(name: str, quick_bench: Ran) -> None:
    done = quick_bench(name)
    assert done.returncode == 0, f"{name}\n{done.stderr}{done.stdout}"


def asked_and_shown(block: str) -> list[tuple[str, list[str]]]:
    """Return each command of a block with the lines that the page shows under it."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.strip():
            assert found, f"{line!r} stands under no command"
            found[-1][1].append(line)
    return found


def not_printed(shown: list[str], printed: str) -> str | None:
    """Return the first line shown that is not printed after those before it; `...` in it stands for anything."""
    lines = iter(printed.splitlines())
    for line in shown:
        form = re.compile(".*".join(re.escape(part) for part in line.rstrip().split("...")))
        if not any(form.fullmatch(printed_line.rstrip()) for printed_line in lines):
            return line
    return None


@pytest.mark.parametrize(
    ("shown", "missing"),
    [
        ([], None),
        (["  limit: 0 W", "b"], None),
        (["a ... z"], None),
        (["limit: 0 W"], "limit: 0 W"),
        (["b", "  limit: 0 W"], "  limit: 0 W"),
        (["a", "a"], "a"),
        (["a ... y"], "a ... y"),
    ],
)
def test_a_line_that_a_page_shows_counts_only_where_it_is_printed_whole_and_in_its_turn(
    shown: list[str], missing: str | None
) -> None:
    assert not_printed(shown, "a\n  limit: 0 W\nb\na to z\n") == missing


@pytest.mark.parametrize(("page", "code"), blocks("toml"))
def test_every_toml_block_is_settings_that_a_server_takes(page: Path, code: str, tmp_path: Path) -> None:
    (tmp_path / "tieline.toml").write_text(code, encoding="utf-8")
    load_config(tmp_path / "tieline.toml")


def test_every_block_has_a_language_that_is_tested() -> None:
    known = {"python", "console", "toml", "json", "text", "mermaid"}
    for page in PAGES:
        for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
            assert match[1] in known, f"{page.name} has a block of {match[1]!r} that nothing runs"
