"""A served folder whose resources stand behind VENs, on virtual time: what the tests of VENs have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from tieline.links.endpoint.openadr.access import secret_digest
from tieline.node.cli import main
from tieline.node.config import load_config
from tieline.node.links import raise_links
from tieline.node.operator import NodeOperator
from tieline.node.reader import NodeReader, Sources
from tieline.node.runtime import Node
from tieline.node.serve import node_of
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop
from tieline.times import SECOND_NS

START_NS = 1_700_000_000 * SECOND_NS
SECRET = "s" * 40
URL = "http://127.0.0.1:8080"
SETTINGS = """
name = "works"
zone = "America/Chicago"
jurisdiction = "US-TX"
port = 0

[[links.openadr]]
port = 8080
resources = [{resources}]
callbacks = ["http://127.0.0.1:*"]
clients = [{clients}]
"""


@dataclass
class Served:
    """A node with its VTN, as people and VENs meet it."""

    node: Node
    operator: NodeOperator
    reader: NodeReader
    supervisor: Supervisor
    clock: VirtualClock


def ven_folder(tmp_path: Path, table: str, names: Sequence[str]) -> Path:
    """Return a folder with a table of devices, of which some are behind a VEN of their own name."""
    folder, run = tmp_path / "works", CliRunner()
    assert run.invoke(main, ["init", str(folder)]).exit_code == 0
    (tmp_path / "devices.csv").write_text(table)
    assert run.invoke(main, ["import", str(tmp_path / "devices.csv"), "--data", str(folder)]).exit_code == 0
    clients = ", ".join(f'{{ id = "{name}", secret_sha256 = "{secret_digest(SECRET)}" }}' for name in names)
    resources = ", ".join(f'"{name}"' for name in names)
    (folder / "tieline.toml").write_text(SETTINGS.format(clients=clients, resources=resources))
    return folder


@asynccontextmanager
async def served(folder: Path, loop: VirtualLoop) -> AsyncIterator[Served]:
    """Serve a folder for as long as the scene lasts."""
    clock, settings = VirtualClock(loop, START_NS), load_config(folder / "tieline.toml")
    async with Supervisor(np.random.default_rng(1)) as supervisor:
        node = node_of(folder, settings, supervisor, None, clock)
        reader = NodeReader(node, Sources(utility="works", setting="LIVE", zone="UTC"))
        operator = NodeOperator(node, reader)
        links = await raise_links(settings.links, folder, node, supervisor, np.random.default_rng(2))
        node.start()
        yield Served(node, operator, reader, supervisor, clock)
        await links.stop()
    node.journal.close()
