"""Capability envelopes of a running node: columns are taken on the loop, between two beats, and weighed beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np

from tieline.desk.capability_views import AskCapability, CapabilityView
from tieline.desk.envelopes import CONFIDENCE_FRAC, Able, able, noticed
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.state import DeskState
from tieline.fleet.columns import Floats, Rows


async def of(
    state: DeskState, pools: Mapping[str, PoolDesk], asked: AskCapability, now_ns: int
) -> list[CapabilityView]:
    """Return what is asked for, group by group. Raises KeyError where there is no such resource."""
    fleet, names = state.fleet, [asked.resource]
    if not asked.resource:
        names = [group.id for group in fleet.groups_of(asked.by)]
    members = [fleet.leaves(name) for name in names]
    if asked.resource and not len(members[0]):  # a group that stands empty: there is nothing to show of it
        raise KeyError(asked.resource)
    page = slice(asked.at, asked.at + asked.count)
    return await _views(state, pools, names[page], members[page], members, asked, now_ns)


async def _views(
    state: DeskState,
    pools: Mapping[str, PoolDesk],
    names: Sequence[str],
    members: Sequence[Rows],
    beside: Sequence[Rows],
    asked: AskCapability,
    now_ns: int,
) -> list[CapabilityView]:
    """Return a view of each group; limits are shared out among all of `beside`, which hold their members too."""
    if not names:
        return []
    fleet, share_w = state.fleet, np.zeros(len(state.fleet))
    for pool in pools.values():
        share_w[pool.rows] += pool.share_w  # one that is in a pool within a pool may serve both
    rows = np.unique(np.concatenate([np.zeros(0, np.int32), *beside])).astype(np.int32)
    can = able(state, rows, asked.lasts_s, now_ns)
    heads = [_head(state, name, each, can, share_w) for name, each in zip(names, members, strict=True)]
    revision, is_stopped = state.revision, state.is_killed
    kinds = [fleet.kind_of(name).value for name in names]
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(None, can.of_groups, members, asked.notices_s)
    return [
        CapabilityView(
            name, kind, revision, now_ns, len(each), count, base_w, called_w, is_stopped, CONFIDENCE_FRAC,
            noticed(found["up"], k), noticed(found["down"], k),
        )
        for k, (name, kind, each, (count, base_w, called_w)) in enumerate(
            zip(names, kinds, members, heads, strict=True)
        )
    ]  # fmt: skip


def _head(state: DeskState, name: str, rows: Rows, can: Able, share_w: Floats) -> tuple[int, float, float]:
    """Return how many of a group's rows can be called, what they would do uncalled, and what they are called for."""
    count = int(can.may_serve[np.searchsorted(can.rows, rows)].sum())
    return count, float(state.base_w[rows].sum()), float(share_w[rows].sum())
