"""The Python API of a notebook: a day that can be run, and its records as tables."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa

from tieline.errors import ConfigError
from tieline.node.asked import LEAST_DEVICES, require_devices, require_length
from tieline.node.demo import parse_duration, quiet, run_headless
from tieline.node.frame import Frame
from tieline.node.stage import scenario as scenario_of
from tieline.node.why import why
from tieline.store.journal import SqliteJournal
from tieline.store.registry import load
from tieline.times import iso, parse_iso, to_ns


def _instant_ns(at: object) -> int:
    try:
        return parse_iso(at) if isinstance(at, str) else to_ns(at)  # type: ignore[arg-type]
    except (ValueError, AttributeError, TypeError):
        form = "ISO 8601 with an offset such as 2024-07-31T16:00:00-07:00"
        raise ConfigError(f"at = {at!r}: give {form}") from None


class Day:
    """One simulated day in a folder of its own; each `run` begins afresh."""

    def __init__(self, devices: int, seed: int, scenario: str) -> None:
        """Make a day. Raises ConfigError for a number or scenario that can't be played, naming what can."""
        for name, value, least in (("devices", devices, LEAST_DEVICES), ("seed", seed, 0)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(f"{name} = {value!r}: give a whole number, {least} or more")
        require_devices(devices)
        scenario_of(scenario)
        self._how = (devices, seed, scenario)
        self._folder = tempfile.TemporaryDirectory(prefix="tieline-")
        self._tries = self._run = 0
        self.report: dict[str, Any] = {}

    @property
    def folder(self) -> Path:
        """Where journal and registry of the last run are."""
        return Path(self._folder.name) / str(self._run)

    def run(self, duration: str = "1d") -> dict[str, Any]:
        """Play the day and return its report. Raises ConfigError for a wrong duration; the last run stands then."""
        if not isinstance(duration, str):
            raise ConfigError(f"duration = {duration!r}: give text such as '90m' or '1d'")
        quiet()
        devices, seed, scenario = self._how
        length_ns = parse_duration(duration)
        require_length(length_ns)
        self._tries += 1  # a folder is used once, by a run that broke off, too
        folder = Path(self._folder.name) / str(self._tries)
        self.report = run_headless(devices, seed, scenario, length_ns, lambda line: None, folder)
        self._run = self._tries
        return self.report

    def why(self, resource: str, at: str | None = None) -> dict[str, Any]:
        """Return who controls a resource at an instant (ISO 8601), and why. Raises ConfigError for one that is none."""
        at_ns = None if at is None else _instant_ns(at)
        return why(self._ran(), load(self.folder / "registry.bin"), resource, at_ns)

    @property
    def resources(self) -> Frame:
        """Every device at the end of the last run: what it is, does and can do, and who controls it."""
        import pyarrow.parquet as pq

        return Frame(pq.read_table(self._ran() / "resources.parquet"))

    @property
    def dispatch(self) -> Frame:
        """The five-minute intervals of the last run: instructed, delivered, error (MW), and the causes of a lack."""
        self._ran()
        rows = [{**row, "causes_mw": str(row["causes_mw"])} for row in self.report["dispatch"]]
        return Frame(pa.Table.from_pylist(rows))

    def records(self, kind: str) -> Frame:
        """Return the journal's records of a kind: seq, id, subject, at, causes."""
        journal = SqliteJournal(self._ran() / "journal.db")
        rows = list(journal.of_kind(kind))
        journal.close()
        return Frame(
            pa.table(
                {
                    "seq": [record.seq for record in rows],
                    "id": [record.id for record in rows],
                    "subject": [record.subject for record in rows],
                    "at": [iso(record.recorded_at_ns) for record in rows],
                    "caused_by": [list(record.caused_by) for record in rows],
                }
            )
        )

    def _ran(self) -> Path:
        if not self.report:
            raise ConfigError('nothing was run yet: call run("1d") first')
        return self.folder
