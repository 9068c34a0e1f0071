"""The command line. Each verb imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tieline import __version__
from tieline.errors import ConfigError, Error
from tieline.node.plain import finite

_WELCOME = """Tieline: one resource, from market to device.

Three things to begin with:
  tieline demo                 open a living territory in your browser
  tieline demo --headless --for 1d --json    run its day and check every promise
  tieline init my-utility      start a data folder of your own

`tieline --help` lists every verb."""


class _Verbs(click.Group):
    """Turns Tieline's own errors into one line (with `--json` one object) and exit code 2; a traceback by `--debug`."""

    def invoke(self, ctx: click.Context) -> Any:
        words = [*ctx._protected_args, *ctx.args]
        as_json = "--json" in words
        try:
            return super().invoke(ctx)
        except Error as error:
            if ctx.params.get("debug"):
                raise
            _refuse(ctx, str(error), as_json, self._valued(words), getattr(error, "faults", ()))
        except click.UsageError as error:
            if not as_json:
                raise
            # A program that asked for JSON reads a misspelt option as it reads a wrong value.
            click.echo(json.dumps(_usage(error, self._valued(words))), err=True)
            ctx.exit(2)
        except BrokenPipeError:
            sys.stderr.close()
            ctx.exit(0)
        except OSError as error:
            if ctx.params.get("debug"):
                raise
            where = f"{error.filename}: " if error.filename else ""
            _refuse(ctx, f"{where}{error.strerror or error}", as_json, self._valued(words))

    def _valued(self, words: Sequence[str]) -> list[str]:
        """Return the words of a call without its flags: what follows an option then is its value."""
        flags: set[str] = set()
        waiting: list[click.Command] = [self]
        while waiting:
            command = waiting.pop()
            flags.update(name for param in command.params if getattr(param, "is_flag", False) for name in param.opts)
            waiting += command.commands.values() if isinstance(command, click.Group) else ()
        return [word for word in words if word not in flags]


def _refuse(ctx: click.Context, text: str, as_json: bool, words: Sequence[str], faults: Sequence[str] = ()) -> None:
    """Say why not on standard error, as one line or as one JSON object, and end with code 2.

    Of several faults the object has field, value and limit of the first, and all of them in `faults`.
    """
    from tieline.node.faults import fields_of, refusal_of

    said: dict[str, Any] = {**refusal_of(faults[0] if faults else text, words), "error": text}
    if len(faults) > 1:
        said["faults"] = [fields_of(fault) for fault in faults]
    click.echo(json.dumps(said) if as_json else f"tieline: {text}", err=True)
    ctx.exit(2)


def _usage(error: click.UsageError, words: Sequence[str]) -> dict[str, str | None]:
    """Return what is wrong with an option or argument."""
    from tieline.node.faults import value_of

    name = getattr(error, "option_name", None)
    if isinstance(error, click.BadParameter) and error.param is not None:
        name = max([*error.param.opts, *error.param.secondary_opts], key=len)
    value = None if isinstance(error, click.MissingParameter) else value_of(name, error.message, words)
    return {"error": error.format_message(), "field": name, "value": value, "limit": error.message}


@click.group(cls=_Verbs, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(__version__, prog_name="tieline")
@click.pass_context
def main(ctx: click.Context, debug: bool) -> None:
    """Tieline: a DER management system and virtual power plant."""
    if ctx.invoked_subcommand is None:
        click.echo(_WELCOME)


def show(value: dict[str, Any], as_json: bool) -> None:
    """Print a result: one JSON object, or `name: value` lines."""
    if as_json:
        click.echo(json.dumps(finite(value), default=str, allow_nan=False))
        return
    for key, item in value.items():
        click.echo(f"{key}: {json.dumps(item, default=str) if isinstance(item, (dict, list)) else item}")


def tell(line: str) -> None:
    """Say on standard error what is being done, at once: what is read as an answer stays on standard output."""
    click.echo(line, err=True)


def tell_loading(what: str, module: str) -> None:
    """Say what begins by loading a module that isn't loaded yet: with all that it needs that takes seconds."""
    if module not in sys.modules:
        tell(f"{what}: loading the program, some seconds")


SEED = click.IntRange(0, 2**63 - 1)
PORT = click.IntRange(0, 65_535)


@main.command()
@click.argument("name", required=False)
@click.option("--list", "listing", is_flag=True, help="Name every bench.")
@click.option("--seed", default=1, show_default=True, type=SEED, help="Seed of everything random.")
@click.option("--quick", is_flag=True, help="A small size, to see that it runs; its figure proves nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def bench(ctx: click.Context, name: str | None, listing: bool, seed: int, quick: bool, as_json: bool) -> None:
    """Measure a published figure; progress goes to standard error."""
    from tieline.bench import figure

    if listing or name is None:
        rows = {bench_name: figure.module(bench_name).WHAT for bench_name in figure.names()}
        show(rows, as_json)
        return
    result = figure.measure(name, seed, quick, lambda line: click.echo(line, err=True))
    show(result, as_json)
    if not result["ok"] and not quick:
        ctx.exit(1)


@main.command()
@click.option("--devices", type=int, help="How many DERs; left out: 10,000, with --wire 200.")
@click.option(
    "--speed", type=float, help="How many times faster than the wall clock; left out: 60, of over 200,000 devices 20."
)
@click.option("--seed", default=1, show_default=True, type=SEED, help="Seed of everything random.")
@click.option("--scenario", default="heatwave", show_default=True, help="heatwave, cloud or comms-loss.")
@click.option(
    "--iso", default="prices", show_default=True,
    help="Who clears: real prices, or clearing: a case of 118 buses whose prices react to what is offered.",
)  # fmt: skip
@click.option("--port", default=8080, show_default=True, type=PORT, help="Port of the console; 0 picks a free one.")
@click.option("--wire", is_flag=True, help="With --headless: over real sockets on wall time, --speed times as fast.")
@click.option("--headless", is_flag=True, help="Play the story on virtual time, without a screen.")
@click.option("--for", "duration", default="1d", show_default=True, help="With --headless: how long: 90m, 6h, 1d.")
@click.option("--data", "data", type=click.Path(), help="With --headless: keep journal and registry in this folder.")
@click.option("--json", "as_json", is_flag=True, help="With --headless: one JSON object on standard output.")
@click.pass_context
def demo(
    ctx: click.Context,
    devices: int | None,
    speed: float | None,
    seed: int,
    scenario: str,
    iso: str,
    port: int,
    wire: bool,
    headless: bool,
    duration: str,
    data: str | None,
    as_json: bool,
) -> None:
    """Open a living territory; or play its day headless and check every promise."""
    from tieline.node.asked import MOST_SPEED, MOST_SPEED_ON_WIRE, iso_kind, require_playable, speed_of

    _fitting(ctx, headless, wire)
    devices = (200 if wire else 10_000) if devices is None else devices
    speed = speed_of(devices) if speed is None else speed
    paced, most = (speed if wire or not headless else None), MOST_SPEED_ON_WIRE if wire else MOST_SPEED
    require_playable(devices, scenario, duration if headless else None, paced, most, wire, iso)
    kind = iso_kind(iso)
    tell_loading("opening a territory", "tieline.node.demo")
    from tieline.node import demo as player  # seconds of it: what is refused, is refused before

    player.quiet()
    if not headless:
        player.run_live(devices, speed, seed, scenario, port, iso=kind)
        return
    length_ns = player.parse_duration(duration)
    folder = None if data is None else Path(data)

    if wire:
        result = player.run_wire(devices, seed, scenario, speed, length_ns, tell, kind)
    else:
        result = player.run_headless(devices, seed, scenario, length_ns, tell, folder, kind)
    if as_json:
        show(result, True)
    else:
        for promise in result["promises"]:
            word = "BROKEN" if not promise["held"] else "kept  " if promise["tested"] else "-     "
            click.echo(f"{word} {promise['name']}: {promise['evidence']}")
        kept = [promise for promise in result["promises"] if promise["held"]]
        idle = sum(not promise["tested"] for promise in kept)
        click.echo(
            f"{len(kept) - idle} of {len(result['promises'])} promises were put to the test and kept, "
            f"{len(result['promises']) - len(kept)} broken, {idle} had no occasion (-)"
        )
        money = result["settlement"]
        click.echo(f"revenue {money.get('revenue', 'not settled')}; journal {result['digest']}")
    if not result["held"] or result["failures"]:
        ctx.exit(1)


def _fitting(ctx: click.Context, headless: bool, wire: bool) -> None:
    """Refuse options that would be passed over in silence. Raises ConfigError naming them."""
    from click.core import ParameterSource

    given = {name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    words = {"duration": "--for", "as_json": "--json"}
    if not headless:
        odd, why = given & {"duration", "data", "as_json", "wire"}, "belongs to --headless"
    elif wire:
        odd, why = given & {"port", "data"}, "has no meaning with --headless --wire"
    else:
        odd, why = given & {"port", "speed"}, "has no meaning on virtual time"
    if odd:
        raise ConfigError(f"{', '.join(sorted(words.get(name, f'--{name}') for name in odd))}: {why}")


from tieline.node import verbs as _verbs  # noqa: E402, F401  registers the other verbs on `main`
from tieline.node import verbs_accuracy as _verbs_accuracy  # noqa: E402, F401
from tieline.node import verbs_backtest as _verbs_backtest  # noqa: E402, F401
from tieline.node import verbs_capability as _verbs_capability  # noqa: E402, F401
from tieline.node import verbs_consent as _verbs_consent  # noqa: E402, F401
from tieline.node import verbs_contract as _verbs_contract  # noqa: E402, F401
from tieline.node import verbs_envelopes as _verbs_envelopes  # noqa: E402, F401
from tieline.node import verbs_forecast as _verbs_forecast  # noqa: E402, F401
from tieline.node import verbs_green_button as _verbs_green_button  # noqa: E402, F401
from tieline.node import verbs_inverters as _verbs_inverters  # noqa: E402, F401
from tieline.node import verbs_ledger as _verbs_ledger  # noqa: E402, F401
from tieline.node import verbs_market as _verbs_market  # noqa: E402, F401
from tieline.node import verbs_offer as _verbs_offer  # noqa: E402, F401
from tieline.node import verbs_opt as _verbs_opt  # noqa: E402, F401
from tieline.node import verbs_performance as _verbs_performance  # noqa: E402, F401
from tieline.node import verbs_placebo as _verbs_placebo  # noqa: E402, F401
from tieline.node import verbs_rules as _verbs_rules  # noqa: E402, F401
from tieline.node import verbs_statements as _verbs_statements  # noqa: E402, F401
