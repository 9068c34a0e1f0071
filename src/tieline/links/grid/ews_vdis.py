"""Verbal dispatch instructions as dispatch batches, and what is said back.

Only `AT_PQ_LEV`, stay at so many megawatts, is a power to hold: from the time of initiation (of notification, where
there is none) to that of completion, at the final level. Every other kind asks for what no award of ours sold.
"""

from __future__ import annotations

from msgspec.structs import replace

from tieline.resource.claim import Refusal
from tieline.times import to_ns
from tieline.wire.ads.messages import DispatchBatch, Instruction, RespondDispatchBatch, Segment
from tieline.wire.ews import messages as ews

HOLDS = "AT_PQ_LEV"
PRODUCT = "ENERGY"


def uid_of(vdi: ews.Vdi) -> str:
    """Return the one name of an instruction: a reference may be used again, another day for another instruction.

    The second of its notification comes first, so that names of references of up to eight digits order as they came.
    """
    told = vdi.details
    second = to_ns(told.notification_time) // 10**9
    reference = told.vdi_ref_num
    return f"{second}{reference:0>8}" if reference.isascii() and reference.isdigit() else f"{second}-{reference}"


def batch_of(vdi: ews.Vdi) -> DispatchBatch | Refusal:
    """Return an instruction as a batch of one, or why it is none; a later notification supersedes an earlier."""
    told = vdi.details
    if told.instruction_type != HOLDS:
        return Refusal("an instruction that no award of ours serves", "instructionType", told.instruction_type, HOLDS)
    if told.final_opr_level is None:
        return Refusal("says no level to hold", "finalOprLevel", "", "MW")
    if told.completion_time is None:
        return Refusal("says no end", "completionTime", "", "an instant")
    start = told.initiation_time or told.notification_time
    segment = Segment(start, told.completion_time, told.final_opr_level)
    uid = uid_of(vdi)
    one = Instruction(uid, vdi.resource or "?", PRODUCT, 0.0, (segment,))
    return DispatchBatch(
        uid, "VDI", "ACTIVE", told.notification_time, told.completion_time, "VDI", start, "NORMAL", True,
        to_ns(told.notification_time) // 10**9, (one,),
    )  # fmt: skip


def said_back(vdi: ews.Vdi, answer: RespondDispatchBatch) -> ews.Vdi:
    """Return an instruction as it goes back: acknowledged, or refused with our reason."""
    declined = [reply.reason for reply in answer.replies if reply.response == "DECLINE"]
    reason = answer.reason or "; ".join(declined)
    if not reason:
        return replace(vdi, status="ACKNOWLEDGED", errors=())
    return replace(vdi, status="REJECTED", errors=(ews.Problem(severity="ERROR", text=reason[:2000]),))
