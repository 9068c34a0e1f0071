"""Feeders that come along."""

from __future__ import annotations

from importlib.resources import files

from tieline.grid.read_pgm import read_pgm
from tieline.grid.unbalanced import Feeder


def european_lv_text() -> str:
    """Return the European low-voltage test feeder as power-grid-model JSON."""
    return (files("tieline.grid") / "feeders" / "european_lv.json").read_text(encoding="utf-8")


def european_lv() -> Feeder:
    """Return the European low-voltage test feeder of the IEEE: 55 customers of one phase each, 906 buses at 416 V.

    Loads are those of minute 566 of its day, where it is most loaded.
    """
    return read_pgm(european_lv_text(), "european-lv")
