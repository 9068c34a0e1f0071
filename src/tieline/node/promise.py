"""One promise and what became of it: its name, whether it held, whether anything tested it, and the evidence."""

from __future__ import annotations

from typing import Any

Promise = dict[str, Any]


def promise(name: str, held: bool, evidence: str, tested: bool = True) -> Promise:
    """Return a promise as JSON-ready data."""
    return {"name": name, "held": bool(held), "tested": bool(tested), "evidence": evidence}


def untested(name: str) -> Promise:
    """Return a promise whose scene was not played."""
    return promise(name, True, "not tested: its scene was not played", tested=False)
