"""The page that a control room's engineer sets a master up from: each index of a group, the sequence, the statuses.

It is written from the layout that the outstation serves, so that it can't say another index than the wire does.
"""

from __future__ import annotations

from collections.abc import Iterable

from py1815.control import CommandStatus

from tieline.links.grid.dnp3.binding import Binding, Input, Output, Switch
from tieline.resource.point import points

_OF_GROUP = {
    "power_w": "Power of all its devices, positive into the grid",
    "available_up_w": "How far that can rise from now, within all limits in force",
    "available_down_w": "How far that can fall from now, within all limits in force",
    "limit_low_w": "Least power that is allowed, of all that bounds its devices now",
    "limit_high_w": "Most power that is allowed, of all that bounds its devices now",
    "target_w": "What its devices are asked for now; where nobody asks, what they do by themselves",
    "unlimited_w": "What that would come to if no limit held them, whichever group it is on, as the desk estimates",
    "resources_reporting": "Devices with fit telemetry",
    "resources_total": "Devices that it has",
    "soc_frac": "Charge of its stores, 0 to 1 of their energy; 0 where it has none",
    "is_connected": "At least one device is heard",
    "is_local": "At least one device obeys its own panel",
    "@revision": "Counts the decisions of the desk; what was operated is in the points once this has moved on",
    "@pending": "What was operated is not in the points yet",
    "@lapsed": "What was operated lapsed, as this master was silent; on until it operates the group again",
}
_SETS = {
    "target_w": ("W", "Target"),
    "low_w": ("W", "Low end of the limit"),
    "high_w": ("W", "High end of the limit"),
    "low_frac": ("of WMax", "Low end of the limit: sets the same end as the one in W"),
    "high_frac": ("of WMax", "High end of the limit: sets the same end as the one in W"),
}
_DOES = {
    "enable_target": "Enables the target",
    "enable_limit": "Enables the limit",
    "cancel": "Takes back all that this master asked of the group: target and limit; latched off it does nothing",
}
STATUSES: dict[CommandStatus, str] = {
    CommandStatus.SUCCESS: "Taken, and durable. **Of an AO whose function is disabled: kept, and limits nothing yet**",
    CommandStatus.TIMEOUT: "The operate came after the select's lease, or what it asks for is over already",
    CommandStatus.NO_SELECT: "An operate that is not the very next request after its select, or names other objects",
    CommandStatus.FORMAT_ERROR: "The request carried a status of its own",
    CommandStatus.NOT_SUPPORTED: "No such index (IIN2.2 too), or a relay code that is no latch",
    CommandStatus.HARDWARE_ERROR: "A fault of ours: nothing was taken",
    CommandStatus.LOCAL: "The resource obeys its own panel",
    CommandStatus.TOO_MANY_OPS: "Too many at once: send it again later",
    CommandStatus.NOT_AUTHORIZED: "Not in the master's `may_operate`, or above its `ceiling`",
    CommandStatus.AUTOMATION_INHIBIT: "An interlock holds it",
    CommandStatus.OUT_OF_RANGE: "Beyond the size of the group or what the master may ask, or low is above high",
    CommandStatus.BLOCKED: "Refused by the desk for another reason; its journal has it in words",
    CommandStatus.CANCELLED: "Sound, but another control of the same function in this request was refused",
    CommandStatus.BLOCKED_OTHER_MASTER: "Another master holds the select",
    CommandStatus.DOWNSTREAM_FAIL: "The journal is away: nothing was taken, send it again",
    CommandStatus.NON_PARTICIPATING: "The resource takes part in tests alone",
}
_HEAD = """# The points of a DNP3 group

A control room's master finds each published group at the same indices, moved by its `at`: AI 4 of a group at 40 is
AI 44. Generated from the layout that the outstation serves.

Every power is in W, positive into the grid: a draw of 20 kW is -20000. One count is the value times the scale given.
A value that nobody has told is 0 with RESTART and COMM_LOST. Events carry the time of the reading, in UTC.
"""
_SEQUENCE = """## How to operate

**An AO alone answers SUCCESS and limits nothing.** A group has two functions, target and limit. AOs are their values, a
BO enables each. While a function is disabled its AOs only wait; the limit begins with its BO.

1. AO {low} (low) and AO {high} (high), or their twins in 0.1 % of WMax, AO {low_frac} and AO {high_frac}. An end that
   is left out stays as it was last set; at first that is the size of the group, which bounds nothing.
2. BO {limit} LATCH_ON. From then on the limit holds, and BI {limit_echo} echoes it.
3. While it is enabled, each AO acts at once, also on devices that ignored what the limit told them before.
   BO {limit} LATCH_OFF, or BO {cancel} LATCH_ON, gives it back: what is next in force holds then.

A target likewise: AO {target}, then BO {enable_target}. All may stand in one request, in any order. Controls of one
function act together or not at all. LATCH_ON, PULSE_ON with CLOSE and a bare PULSE_ON mean on; LATCH_OFF and PULSE_ON
with TRIP mean off; a count other than 1, queue and clear are refused.

The echoes AI {echoes} show what an AO stands at **whether it is enabled or not**: what is in force is AI {in_force}.

- **Range**: from minus `max_absorb_w` to `max_inject_w`, the sums of the group's devices; WMax is the larger of both.
- **Direct or select**: DIRECT_OPERATE, DIRECT_OPERATE_NR and SELECT then OPERATE do the same. A select lasts
  {select_s:g} s and ends with any request but its OPERATE. It keeps out other masters of the same level, never a
  stronger one.
- **Lease**: what was operated holds as long as the master is heard; any frame will do, also the answer to our link
  status request. Silent for {lease_s:g} s (twice `keep_alive_s`, at most 15 minutes) it lapses: BI {limit_echo} goes
  off and BI {lapsed} comes on until the group is operated again. A cut of the connection alone ends nothing.
- **Level**: a limit is asked at the group's `level_limit` (`ENVELOPE`), a target at its `level_target` (`UTILITY`).
  [Arbitration](../explain/arbitration.md) says what each outranks.
"""
_OBJECTS = """## Objects

| | static | events | operated by |
|---|---|---|---|
| binary input | g1v2 | g2v2 (absolute time) | |
| binary output status | g10v2 | none: see its echo among the binary inputs | g12v1 |
| analog input | g30v1 to v5 (v1 where v0 is asked) | g32v3 (32 bits, with time) | |
| analog output status | g40v1 to v4 (v1 where v0 is asked) | none: see its echo among the analog inputs | g41v1 to v4 |

**Counters: none** (g20 to g23 are unknown objects). Class polls g60v1 to v4 and unsolicited responses are served.
"""


def markdown(binding: Binding) -> str:
    """Return the page of a layout: its groups and masters play no part."""
    parts = [_HEAD, _inputs(binding), _outputs(binding), _sequence(binding), _statuses(), _OBJECTS]
    return "\n".join(parts)


def _inputs(binding: Binding) -> str:
    units = {key: point.unit for key, point in points().items()}
    analog = {one.offset: _analog(one, units.get(one.shows, "1")) for one in binding.analog}
    analog |= {one.mirror: _echo(one) for one in binding.outputs}
    binary = {one.offset: (_OF_GROUP[one.shows], _class(one.event_class)) for one in binding.binary}
    binary |= {one.mirror: (_echo_of(one), "1") for one in binding.switches}
    return "\n".join([
        "## Analog inputs (AI)", "", "| AI | unit | value of one count | means | class | event at |",
        "|---|---|---|---|---|---|", *_rows(analog.items()), "",
        "## Binary inputs (BI)", "", "| BI | on means | class |", "|---|---|---|", *_rows(binary.items()), "",
    ])  # fmt: skip


def _outputs(binding: Binding) -> str:
    analog = []
    for one in binding.outputs:
        unit, means = _SETS[one.sets]
        analog.append((one.offset, (unit, f"{one.resolution:g}", one.function, means, f"AI {one.mirror}")))
    binary = [(one.offset, (_DOES[one.does], f"BI {one.mirror}")) for one in binding.switches]
    return "\n".join([
        "## Analog outputs (AO)", "", "| AO | unit | value of one count | function | sets | echo |",
        "|---|---|---|---|---|---|", *_rows(analog), "",
        "## Binary outputs (BO)", "", "| BO | latched on | echo |", "|---|---|---|", *_rows(binary), "",
    ])  # fmt: skip


def _rows(rows: Iterable[tuple[int, tuple[str, ...]]]) -> list[str]:
    return [f"| {index} | {' | '.join(cells)} |" for index, cells in sorted(rows)]


def _analog(point: Input, unit: str) -> tuple[str, ...]:
    moves = f"any change beyond {point.deadband:g}" if point.deadband else "any change"
    event = moves if point.event_class else "-"
    return unit, f"{point.resolution:g}", _OF_GROUP[point.shows], _class(point.event_class), event


def _echo(output: Output) -> tuple[str, ...]:
    return _SETS[output.sets][0], f"{output.resolution:g}", f"Echo of AO {output.offset}", "1", "any change"


def _echo_of(switch: Switch) -> str:
    return f"Echo of BO {switch.offset}" + (": never on, as it is done at once" if switch.does == "cancel" else "")


def _class(number: int) -> str:
    return str(number) if number else "0 alone"


def _sequence(binding: Binding) -> str:
    outputs = {one.sets: one for one in binding.outputs}
    switches = {one.does: one for one in binding.switches}
    at = {one.shows: one.offset for one in (*binding.analog, *binding.binary)}
    return _SEQUENCE.format(
        low=outputs["low_w"].offset,
        high=outputs["high_w"].offset,
        low_frac=outputs["low_frac"].offset,
        high_frac=outputs["high_frac"].offset,
        target=outputs["target_w"].offset,
        limit=switches["enable_limit"].offset,
        limit_echo=switches["enable_limit"].mirror,
        enable_target=switches["enable_target"].offset,
        cancel=switches["cancel"].offset,
        echoes=f"{binding.outputs[0].mirror} to {binding.outputs[-1].mirror}",
        in_force=f"{at['limit_low_w']}, {at['limit_high_w']} and {at['target_w']}",
        select_s=binding.select_s,
        lease_s=binding.lease_s,
        lapsed=at["@lapsed"],
    )


def _statuses() -> str:
    rows = [f"| {status.value} | `{status.name}` | {says} |" for status, says in sorted(STATUSES.items())]
    return "\n".join(["## What the answer says", "", "| code | status | means |", "|---|---|---|", *rows, ""])
