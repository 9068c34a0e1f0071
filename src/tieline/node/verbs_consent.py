"""Verbs about the contracts of a data folder whose server is stopped: what stands, and an owner's word on it.

A server that runs takes the same words over its API; one journal has one writer.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tieline.errors import ConfigError
from tieline.node.cli import show
from tieline.node.verb_words import AT, BY, JSON, granted, instant
from tieline.node.verbs import DATA, Missing, warn
from tieline.node.verbs_contract import contracts

if TYPE_CHECKING:
    from tieline.desk.state import DeskState

PRODUCT = click.option("--product", "products", multiple=True, help="Of this product alone; left out: of all.")
BECAUSE = click.option("--because", default="", help="Why, in a few words; recorded.")


@contracts.command(name="list")
@DATA
@AT
@JSON
@click.pass_context
def list_contracts(ctx: click.Context, data: Path, at: str | None, as_json: bool) -> None:
    """List the contracts of a data folder: what each lets be called, what of its budgets is used, what was said.

    Where a record was changed or is gone that is said (with --json in `missing`), and the exit code is 1.
    """
    import msgspec

    from tieline.node.journals import journal_to_read, tell_cut
    from tieline.node.read_contracts import contract_views

    now_ns, missing = instant(at), Missing()
    tell_cut(data, missing)
    journal = journal_to_read(data)
    try:
        state = _state(data, journal, now_ns)
    finally:
        journal.close()
    told = {"contracts": [msgspec.to_builtins(one) for one in contract_views(state, now_ns)[:]]}
    show({**told, **({"missing": missing.told} if as_json else {})}, as_json)
    missing.end(ctx)


@contracts.command()
@click.argument("contract")
@PRODUCT
@BECAUSE
@BY
@DATA
@JSON
def withdraw(contract: str, products: tuple[str, ...], because: str, by: str, data: Path, as_json: bool) -> None:
    """Take the owner's consent to CONTRACT back: recorded, and what rests on it is let go by the next start.

    The folder's server has to be stopped first; one that runs takes this over its API, at once.
    """
    _say(data, contract, products, None, by, because, as_json)


@contracts.command()
@click.argument("contract")
@click.option("--evidence", required=True, help="SHA-256 (64 hex digits) of what proves it.")
@PRODUCT
@BECAUSE
@BY
@DATA
@JSON
def consent(
    contract: str, evidence: str, products: tuple[str, ...], because: str, by: str, data: Path, as_json: bool
) -> None:
    """Give the owner's consent to CONTRACT anew, from now on; the folder's server has to be stopped first."""
    _say(data, contract, products, evidence, by, because, as_json)


def _say(
    data: Path, contract: str, products: tuple[str, ...], evidence: str | None, by: str, because: str, as_json: bool
) -> None:
    from tieline.desk.apply import apply
    from tieline.desk.consents import decide_agreed, decide_word
    from tieline.node.stopped import writing
    from tieline.rim.clock import SystemClock

    now_ns = instant(None)
    with writing(data, warn, SystemClock()) as journal:
        state = _state(data, journal, now_ns)
        entries, refusal = decide_word(state, contract, products, evidence, by, because, now_ns)
        granted(refusal)
        told: dict[str, Any] = {"contract": contract, "record": entries[0].id, "out": []}
        for entry in entries:
            apply(state, entry.id, entry.fact, now_ns)
        follows = decide_agreed(state, now_ns)
        for entry in follows:
            apply(state, entry.id, entry.fact, now_ns)
        journal.append([entry.record(now_ns) for entry in [*entries, *follows]])
        agreed = state.agreed
        assert agreed is not None  # its word was taken
        told["out"] = [state.fleet.id_of(row) for row in agreed.rows_of(contract)[:20].tolist() if state.opted_out[row]]
    show(told, as_json)


def _state(data: Path, journal: Any, now_ns: int) -> DeskState:
    from tieline.node.stopped import state_in

    state = state_in(data, journal, now_ns)
    if state.agreed is None:
        raise ConfigError(f"{data / 'tieline.toml'}: holds no contracts: give [contracts] with file")
    return state
