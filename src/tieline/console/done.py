"""The answer to an act: what it became, and what keeps it from having its effect at once."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from tieline.console.problems import good
from tieline.console.table import Call

KILLED = (
    "the kill switch is pressed: this is recorded, and until the switch is released devices are told of it only where "
    "it brings them nearer to their safe power"
)


class Done(Struct, frozen=True):
    """It is done and recorded; `claim` names what it became, where it became something.

    `says` tells what keeps it from having its effect at once, or in full, that nothing of what a limit bounds can be
    seen now, what loads draw that it leaves out of account, what it takes the place of, or why there was nothing to do;
    empty: nothing does.
    """

    done: bool
    claim: str = ""
    revision: int = 0
    says: str = ""


def done(answer: Any) -> Done:
    """Return the answer to an act. Raises Problem where the desk refused it."""
    good(answer)
    return Done(True, getattr(answer, "claim", ""), getattr(answer, "revision", 0))


def done_to_devices(call: Call, answer: Any) -> Done:
    """Return the answer to an act that devices are to be told of, with what keeps it from them."""
    made = done(answer)
    killed = KILLED if call.desk.reader.shell().is_killed else ""
    says = (killed, *(getattr(answer, name, "") for name in ("unmet", "unseen", "loads", "replaces", "stands")))
    return msgspec.structs.replace(made, says="; ".join(word for word in says if word))
