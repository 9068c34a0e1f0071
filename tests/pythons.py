"""Installs the package on each Python it claims, runs the inner tests there, and holds the story's digests together.

An interpreter that is not on this machine is named and left out; `make test-pythons` runs this.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13")
TESTS = ("tests/kernel", "tests/store", "tests/virtual")
STORY = ("demo", "--headless", "--devices", "200", "--seed", "1", "--for", "1d", "--json")


def interpreter(version: str) -> str | None:
    """Return a python of a version, on the path or among pyenv's; None where there is none."""
    homes = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
    return str(homes[-1]) if homes else shutil.which(f"python{version}")


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def main(venv: str) -> None:
    digests: dict[str, str] = {}
    for version in VERSIONS:
        python = interpreter(version)
        if python is None:
            print(f"python {version}: not installed here, left out", flush=True)
            continue
        home = Path(f"{venv}-{version}")
        run(f"{venv}/bin/uv", "venv", "-q", "--clear", "--python", python, str(home))
        run(f"{venv}/bin/uv", "pip", "install", "-q", "--python", f"{home}/bin/python", "-e", ".[dev]")
        said = run(f"{home}/bin/python", "-m", "pytest", "-m", "not long", *TESTS).strip().splitlines()[-1]
        digests[version] = json.loads(run(f"{home}/bin/tieline", *STORY))["digest"]
        print(f"python {version}: {said}; digest {digests[version]}", flush=True)
    if len(set(digests.values())) > 1:
        sys.exit(f"the same seed gave different digests: {digests}")


main(sys.argv[1])
