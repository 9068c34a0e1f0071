"""What `tieline why` says on a terminal."""

from __future__ import annotations

import math
from typing import Any

import click

from tieline.desk.called import SET_ASIDE
from tieline.desk.counted_loads import SAYS
from tieline.node.read_control import NOT_IN_FORCE
from tieline.node.read_held import ONLY_POWERS, off_says, power_says
from tieline.node.read_short import NOT_RESPONDING, WORDS
from tieline.node.read_wait import UNRELEASED, stray_says
from tieline.resource.arbitrate import REMOTE_LEVELS
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.command import Stage
from tieline.resource.level import Level
from tieline.times import SECOND_NS, parse_iso

_STILL = ("unresponsive", "refused", "unconfirmed", "underperformed")
CAUSES = {**WORDS, **{cause: f"{NOT_RESPONDING} ({cause})" for cause in _STILL}}

LEAST_HELD_W = 0.5
"""A power that is held by less than this reads as the one that was asked."""
MOST_ENDED_TOLD, ENDED_S = 3, 300.0
"""So many of what ended are told at most, of the last five minutes and one an asker; what lapsed, or a contract set
aside, is told for a day."""
LOCAL_UNKNOWN = "whether somebody else set it (LOCAL) is not known, as no reading of then is kept"


def tell(answer: dict[str, Any]) -> None:
    """Say who controls a resource and why, a line each, on standard output."""
    click.echo(f"{answer['resource']} ({answer['kind']}) at {answer['at']}, revision {answer['revision']}")
    if first := answer["recorded_from"]:
        click.echo(f"  nothing is recorded before {first}: who controlled it then is not known")
        return
    if until := answer["recorded_until"]:
        click.echo(f"  nothing is recorded after {until}: so it would stand by what was known then")
    if kill := answer["kill_switch"]:
        click.echo(f"  kill switch pressed at {kill['since']} by {kill['by']}: only what leads to safe power is sent")
    if "resources" in answer:
        _tell_group(answer)
        return
    winner, share, lost = answer["winner"], answer["share"], answer["out_of_reach"]
    runs = UNRELEASED.removeprefix("it ") if answer["unreleased"] else "runs by itself"
    runs = "is out of reach" if lost else runs
    runs = "goes on as it was told last" if answer["stands_until"] else runs
    runs = "was set by somebody else (LOCAL)" if answer["in_local"] else runs
    # As `read_runs` has it: whom somebody else set, or whose last command stands, goes on by that, though a limit would
    # hold it off.
    goes_on = bool(answer["in_local"] or answer["stands_until"])
    is_off = winner is None and share is not None and not goes_on
    if answer["held_w"] is not None:
        _tell_held(answer)
    elif winner is None and not goes_on and answer["held_by_timer"]:
        click.echo(f"  nobody names a power: its own timer holds it off until {answer['held_by_timer']}")
    elif is_off and (share["waits_for_turn"] or share["too_small"]):
        _tell_off(answer)
    elif winner is None and (by := _only_power(answer)):
        click.echo(f"  nobody names a power: it is held at {answer['low_w']:z.0f} W by {by}")
    elif is_off and share["off"]:
        _tell_off(answer)
    elif winner is None and answer["limited_by"] and (answer["low_w"] > 0.0 or answer["high_w"] < 0.0):
        gives = answer["low_w"] > 0.0
        pushed = f"give at least {answer['low_w']:z.0f}" if gives else f"draw at least {-answer['high_w']:z.0f}"
        click.echo(f"  nobody names a power: it is told to {pushed} W by a limit {_by(answer['limited_by'])}")
    elif winner is None and answer["limited_by"]:
        click.echo(f"  nobody names a power: it {runs}, within a limit {_by(answer['limited_by'])}")
    elif winner is None and share is not None and (by := _by(_holder(answer))):
        part = f"its share of a limit on {share['on']}" if share["is_share"] else "a limit"
        click.echo(f"  nobody controls it: it {runs}, within {part} {by}")
    elif winner is None:
        click.echo(f"  nobody controls it: it {runs}")
    else:
        is_told = answer["in_local"] is not None or Level[winner["level"]] not in REMOTE_LEVELS
        ended = _ended_as(answer["command"], answer["at"])
        says = "told" if ended else "controlled"
        says = says if is_told else f"{LOCAL_UNKNOWN}: if nobody did, {says}"
        if _is_held(answer):
            says = says.replace("told", "asked").replace("controlled", "asked")
        power_w = answer["asked_w"] if _is_held(answer) else answer["target_w"]
        click.echo(f"  {says} by {winner['source']} ({winner['level']}){ended}: {power_w:z.0f} W")
        click.echo(f"  because of {winner['because']}, since {winner['from']}")
        if _is_held(answer):
            holder = answer["limited_by"]
            by = f"a limit {_by(holder)}" if holder else "its own rating, or its own timer"
            click.echo(f"  but held at {answer['target_w']:z.0f} W by {by}")
        if by_now := answer["asked_by_now"]:
            click.echo(f"  its pool is asked by {by_now} by now, which leaves it as it is")
    click.echo(f"  allowed: {answer['low_w']:z.0f} W to {answer['high_w']:z.0f} W")
    if lost:
        _tell_lost(lost)
    if answer["waits"]:
        click.echo(f"  {answer['waits']}")
    if still := answer["unresponsive"]:
        click.echo(
            f"  it does not respond: called and able, it stood still in {still['strikes']} calls running, the last"
        )
        click.echo(f"    at {still['last']}; it counts so until it follows one, or until {still['until']}")
    if out := answer["left_out"]:
        click.echo(f"  left out of its pool's calls since {out['since']}, until {out['until']}: {out['why']}")
    if found := answer["stray"]:
        click.echo(f"  {stray_says(found)}")
    for limit in answer["limits"]:
        of = limit["on"] if limit["on"] != answer["resource"] else None
        ends = _ends(limit) + (f" (its share of a limit on {of})" if of else "")
        yields = f"; {limit['why']}" if limit["why"] else ""
        click.echo(f"  limit {limit['level']}: {ends} {_by(limit['by']) or 'by ' + limit['claim']}{yields}")
        for says in filter(None, (limit["loads"], limit["unmet"])):
            click.echo(f"    {says}")
    for lost in answer["losers"]:
        click.echo(f"  not {lost['by'] or lost['claim']} ({lost['level']}): {lost['why']}")
    for gate in answer["gates"]:
        click.echo(f"  {_gate_says(gate, gate['on'] if gate and gate['on'] != answer['resource'] else '')}")
        if gate and gate["level"] == Level.OWNER_NEED.name and _claimed(answer):
            click.echo("    that keeps what is weaker from calling it, and no limit: those above hold all the same")
    _tell_contracts(answer)
    _tell_engine(answer["engine"])
    _tell_enrolments(answer)
    _tell_ended(answer)
    if answer["feeder_mode"] not in (None, "Automatic"):
        click.echo(f"  its feeder {answer['feeder']} is {answer['feeder_mode']}")
    if answer["command"]:
        known = {name: value for name, value in answer["command"].items() if value is not None or name == "target_w"}
        told = (f"{name} {'free' if value is None else value}" for name, value in known.items())
        click.echo("  command: " + ", ".join(told))
    if (gave := answer["delivered"]) is not None:
        over = _over(gave)
        click.echo(f"  gave {gave['above_base_w']:z.0f} W above its base {over}")
    _tell_chain("", answer["chain"])
    for batch, chain in answer["chains"].items():
        _tell_chain(batch, chain)


def _is_held(answer: dict[str, Any]) -> bool:
    """Return whether limits hold a device at another power than the one it is asked for: they decide what it does."""
    asked_w, told_w = answer["asked_w"], answer["target_w"]
    return bool(answer["is_held"]) and asked_w is not None and abs(asked_w - told_w) > LEAST_HELD_W


def _ended_as(command: dict[str, Any] | None, at: str) -> str:
    """Return how a command that is in force ended, where nobody knows that it is kept; else nothing."""
    if command is None or parse_iso(command["valid_until"]) <= parse_iso(at):
        return ""
    ended = NOT_IN_FORCE.get(Stage[command["stage"]])
    return f", and {ended}" if ended else ""


def _tell_off(answer: dict[str, Any]) -> None:
    """Say what holds a load off, who placed each limit that does, and whether it waits for its turn."""
    share = answer["share"]
    names = {one["claim"] for one in share["held_by"]} or {share["claim"]}
    click.echo(f"  nobody names a power: {off_says(share, answer['resource'])}")
    for limit in answer["limits"]:
        if limit["by"] and limit["by"]["claim"] in names:
            click.echo(f"    the limit on {limit['on']} is {_by(limit['by'])}")


def _holder(answer: dict[str, Any]) -> dict[str, Any] | None:
    """Return the claim that a device has its share of."""
    claim = answer["share"]["claim"]
    return next((limit["by"] for limit in answer["limits"] if limit["by"] and limit["by"]["claim"] == claim), None)


def _ends(limit: dict[str, Any]) -> str:
    low_w, high_w = limit["low_w"], limit["high_w"]
    return " to ".join("open" if end is None or math.isinf(end) else f"{end:z.0f} W" for end in (low_w, high_w))


def _tell_lost(lost: dict[str, Any]) -> None:
    """Say since when a device is out of reach, what it took last, and until when that holds."""
    took, own = lost["took"], f"it goes by its own default, {lost['default_w']:z.0f} W"
    click.echo(f"  out of reach: not heard since {lost['since']}")
    if took is None:
        click.echo(f"    it took no command yet: {own}")
    else:
        what = "none" if took["target_w"] is None else f"{took['target_w']:z.0f} W"
        how = f"holds until {took['until']}" if took["holds"] else f"ended at {took['until']}: {own}"
        click.echo(f"    the last command that it took (power: {what}; limits: {_ends(took)}) {how}")
    if lost["told_until"]:
        click.echo(f"    what it was told since, until {lost['told_until']}, it has not answered")


def _claimed(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the limits on a device that somebody placed: all but its rating."""
    return [limit for limit in answer["limits"] if limit["level"] != Level.PHYSICS.name]


def _tell_held(answer: dict[str, Any]) -> None:
    """Say at which power a device is held that nobody asks for, whose limit that keeps, and why it is held at one."""
    placed = [limit for limit in _claimed(answer) if limit["by"]]
    # Only what it may draw is kept so: of several limits the one that leaves it least of that.
    of = max(placed, key=lambda limit: -math.inf if limit["low_w"] is None else limit["low_w"], default=None)
    whose = "a limit" if of is None else f"a limit on {of['on']} {_by(of['by'])}"
    click.echo(f"  nobody names a power: it is held {power_says(answer['held_w'])} to keep {whose}")
    click.echo(f"    {ONLY_POWERS}: so one within it is held until that ends")


def _only_power(answer: dict[str, Any]) -> str:
    """Return whose limits leave a device one power alone; empty: it may choose, or only its own rating binds it."""
    claimed = _claimed(answer)
    if not claimed or answer["low_w"] != answer["high_w"]:
        return ""
    by = answer["limited_by"] or (claimed[0]["by"] if len(claimed) == 1 else None)
    return f"a limit {_by(by)}" if by else "its limits"


def _tell_group(answer: dict[str, Any]) -> None:
    for who, count in answer["controlled_by"].items():
        click.echo(f"  {count} of {answer['resources']} devices controlled by {who}")
    if answer["by_hand"] is None:
        click.echo(f"  of each of them {LOCAL_UNKNOWN}")
    held, off, limited = answer["on_last_command"], answer["held_off"], answer["at_limit"]
    timed, by_hand = answer["held_by_timer"], answer["by_hand"] or 0
    goes_on = f"{held} go on as they were told last, " if held else ""
    goes_on += f"{off} are held off by a limit, " if off else ""
    goes_on += f"{timed} are held off by their own timers, " if timed else ""
    goes_on += f"{by_hand} are set by somebody else, " if by_hand else ""
    goes_on += f"{limited} are held by a limit, " if limited else ""
    unreleased = answer["unreleased"]
    goes_on += f"{unreleased} were let go and did not confirm it, " if unreleased else ""
    freely = answer["free"] - held - off - timed - by_hand - limited - unreleased
    click.echo(f"  {freely} run by themselves, {goes_on}{answer['opted_out']} opted out")
    may = f"{answer['low_w']:z.0f} W to {answer['high_w']:z.0f} W"
    click.echo(f"  asked of those {answer['target_w']:z.0f} W; all may do {may}")
    for limit in answer["limits"]:
        whole = "" if limit["on"] == answer["resource"] else f" as part of {limit['on']}"
        click.echo(f"  limit on {limit['resources']} of them{whole}: {_ends(limit)} {_by(limit['by'])}")
        if limit["loads"] and limit["high_w"] is not None:
            click.echo(f"    beneath its upper end {SAYS[limit['loads']]}")
        if limit["unmet"]:
            click.echo(f"    {limit['unmet']}")
    for target in answer["targets"]:
        value, unit = target["value"], "var" if target["quantity"] == Quantity.Q.value else "W"
        asked = f"{value:z.0f} {unit}" if target["kind"] == ClaimKind.SET.value else f"{value:+z.0f} {unit} beside it"
        click.echo(f"  target on {target['resources']} of them: {asked} {_by(target['by'])}")
    for mode in answer["modes"]:
        click.echo(f"  mode on {mode['resources']} of them: {mode['mode']} {_by(mode['by'])}")
    for gate in answer["gates"]:
        click.echo(f"  on {gate['resources']} of them {_gate_says(gate['by'])}")
    _tell_ended(answer)
    for award in answer["awards"]:
        price = f"at {award['price_per_mwh']:.2f} a MWh until {award['to']} ({award['id']} of {award['offer']})"
        click.echo(f"  awarded {award['power_w']:z.0f} W of {award['product']} {price}")
    for called in answer["instructions"]:
        click.echo(
            f"  instructed {called['power_w']:z.0f} W of {called['product']} until {called['to']} ({called['id']})"
        )
    if (gave := answer["delivered"]) is not None:
        over = _over(gave)
        click.echo(f"  gave {gave['delivered_w']:z.0f} W of {gave['asked_w']:z.0f} W asked {over}")
        if gave["uncalled_w"] * gave["asked_w"] > 0.0 and abs(gave["uncalled_w"]) > 1.0:
            click.echo(
                f"    of that {gave['uncalled_w']:z.0f} W by devices not called then, but within the hour before"
            )
        for word, split in (("lacks", gave["causes"]), ("was asked less", gave["withheld"])):
            if split:
                told = ", ".join(f"{CAUSES.get(cause, cause)} {watts:z.0f} W" for cause, watts in split.items())
                click.echo(f"    {word}, by cause: {told}")
    for batch, chain in answer["chains"].items():
        _tell_chain(batch, chain)


def _tell_contracts(answer: dict[str, Any]) -> None:
    if answer["not_covered"]:
        click.echo(f"  {answer['not_covered']}")
    for one in answer["contracts"]:
        products = "; ".join(f"{name}: {says}" for name, says in one["products"].items()) or "no terms hold now"
        click.echo(f"  contract {one['contract']} of {one['owner']} with {one['manager']}: {products}")
        if said := one["said"]:
            because = f": {said['because']}" if said["because"] else ""
            click.echo(f"    {said['what']} at {said['at']} by {said['by']}{because} ({said['record']})")


def _tell_engine(engine: dict[str, Any] | None) -> None:
    if engine is None:
        return
    runs = f"runs, counted as {engine['runs_as'].replace('_', ' ')}" if engine["runs_as"] else "does not run"
    click.echo(f"  engine in {engine['jurisdiction']} {'with' if engine['has_permit'] else 'without'} a permit: {runs}")
    for one in engine["limits"]:
        told = f"{one['used_h']:g} of {one['limit_h']:g} h used this year, {one['left_h']:g} left"
        click.echo(f"    {', '.join(one['uses'])}: {told} ({one['rule']}, {one['source']})")


def _tell_enrolments(answer: dict[str, Any]) -> None:
    if answer["not_enrolled"]:
        click.echo(f"  {answer['not_enrolled']}")
    for one in answer["enrolments"]:
        runs = f"from {one['starts']}" + (f" until {one['ends']}" if one["ends"] else "")
        since = f" since {one['since']} ({one['why']}, by {one['by']})" if one["since"] else ""
        state = one["state"].replace("_", " ")
        click.echo(f"  enrolled in {one['program']} {runs}: {state}{since} ({one['enrolment']})")


def _over(gave: dict[str, Any]) -> str:
    """Return over which time an interval tells; where a server died in it, what of that nobody counted."""
    gaps = ", ".join(f"{from_at} to {to_at}" for from_at, to_at in gave["uncounted"])
    without = f", a mean without what was not counted: {gaps}" if gaps else ""
    return f"from {gave['start']} to {gave['end']}, the last interval of it that was counted by then{without}"


def _gate_says(gate: dict[str, Any] | None, on: str = "") -> str:
    """Return what a gate does; `on`: the group that it stands on as a whole, where that is another resource."""
    if gate is not None and gate["source"] == "contract":
        return f"no contract lets it be called {_by(gate)}"
    opted = gate is not None and gate["level"] == "OWNER_NEED"
    whole = f" of all of {on}" if on else ""
    return f"{'its owner has opted out' if opted else 'what is weaker is held out'}{whole} {_by(gate)}"


def _tell_ended(answer: dict[str, Any]) -> None:
    told = _worth_telling(answer["ended"], answer["at"])
    for ended in told:
        whose = f"{ended['source']} ({ended['level']}, {ended['program']}) on {ended['resource']}"
        until = f" until {ended['until']}" if ended["until"] else ""
        how = f"lapsed at {ended['ended']}" if ended["lapsed"] else f"ended at {ended['ended']}: {ended['why']}"
        because = f": {ended['because']}" if ended["because"] else ""
        click.echo(f"  {how}: {ended['kind']} granted to {whose} from {ended['from']}{until}{because}")
    if more := len(answer["ended"]) - len(told):
        click.echo(f"  {more} {'more ' if told else ''}ended in the last day: --json tells of each")


def _worth_telling(ended: list[dict[str, Any]], at: str) -> list[dict[str, Any]]:
    """Return what ended lately, the newest first: the last of each asker, and what nobody withdrew himself."""
    found: list[dict[str, Any]] = []
    askers: set[tuple[str, str]] = set()
    for one in ended:
        stays = one["lapsed"] or one["why"].startswith(SET_ASIDE)
        is_near = parse_iso(at) - parse_iso(one["ended"]) <= ENDED_S * SECOND_NS
        if (stays or is_near) and (one["source"], one["program"]) not in askers:
            askers.add((one["source"], one["program"]))
            found.append(one)
    return found[:MOST_ENDED_TOLD]


def _by(claim: dict[str, Any] | None) -> str:
    if claim is None:
        return ""
    until = f" until {claim['until']}" if claim["until"] else ""
    return f"by {claim['source']} ({claim['level']}) since {claim['from']}{until}: {claim['because']}"


def _tell_chain(batch: str, chain: list[dict[str, Any]]) -> None:
    if batch and chain:
        click.echo(f"  {batch}:")
    for step in chain:
        click.echo(f"  <- {step['at']} {step['kind']} {step['id']}")
