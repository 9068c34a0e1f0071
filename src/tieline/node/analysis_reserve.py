"""What regulation and frequency reserves come to, from files of samples and of what was sold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.market.product import Dated, FrequencyCurve, Regulation, SetPoint, exact, product_rules, rule_of, zone_of
from tieline.market.regulation import Hour, Score, credit_lines, mileage, score_columns
from tieline.market.reserve import Block, Delivery, afrr_delivery, block_lines, energy_mwh, fcr_delivery
from tieline.market.settlement import is_excused
from tieline.node.analysis_products import MINUTES, MOST_MW, MOST_PRICE, Book, open_book, over_of, require_apart
from tieline.store.meter_files import Floats
from tieline.store.product_files import FaultyRows, Field, Rows, read_rows
from tieline.times import HOUR_NS, from_ns, iso

SECOND_NS = 1_000_000_000
RATIO = "mileage_ratio"


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Rows of samples with the bounds of each resource in them."""

    rows: Rows
    bounds: dict[str, tuple[int, int]]

    @classmethod
    def of(cls, rows: Rows) -> Samples:
        """Return rows with their bounds; they are in order of resource and time."""
        names, first = np.unique(rows.resources, return_index=True)
        ends = [*first[1:].tolist(), len(rows)]
        return cls(rows, {str(n): (a, b) for n, a, b in zip(names, first.tolist(), ends, strict=True)})

    def within(self, sold: Rows, at: int, over: tuple[int, int], step_ns: int) -> slice:
        """Return where the samples of an interval stand.

        Raises:
            ConfigError: They are not on the grid of `step_ns` from its start, or some are missing; the first is named.
        """
        name = str(sold.resources[at])
        if name not in self.bounds:
            raise ConfigError(f"{sold.where(at)}: resource = {name!r}: {self.rows.path} has no samples of it")
        a, b = self.bounds[name]
        starts = self.rows.starts_ns[a:b]
        first, last = (a + int(k) for k in np.searchsorted(starts, over))
        wanted = np.arange(over[0], over[1], step_ns)
        have = self.rows.starts_ns[first:last]
        if len(have) == len(wanted) and (have == wanted).all():
            return slice(first, last)
        lacks = np.setdiff1d(wanted, have)
        if len(lacks):
            who = f"of {name} " if name else ""
            told = f"no sample {who}at {iso(int(lacks[0]))}, {len(lacks)} in all"
            raise ConfigError(f"{self.rows.path}: {told}: give one each {step_ns / SECOND_NS:g} s of {sold.where(at)}")
        odd = first + int(np.flatnonzero(~np.isin(have, wanted))[0])
        told = iso(int(self.rows.starts_ns[odd]))
        raise ConfigError(f"{self.rows.where(odd)}: start = {told!r}: give one sample each {step_ns / SECOND_NS:g} s")

    def step_ns(self, name: str) -> int:
        """Return how long a resource's samples are: their shortest distance."""
        a, b = self.bounds.get(name, (0, 0))
        return int(np.diff(self.rows.starts_ns[a:b]).min()) if b - a > 1 else SECOND_NS


def regulation_of(rule_id: str, samples_file: Path, hours_file: Path, currency: str = "") -> dict[str, Any]:
    """Return what hours of regulation are paid, as `tieline settle regulation` prints it.

    Args:
        rule_id: A regulation rule's name.
        samples_file: `start,signal,response` each 10 s in one unit; `reference` (the traditional signal), `resource`.
        hours_file: `start,mw,rmccp,rmpcp`; `mileage_ratio` (else made from `reference`), `resource`, `cause`.
        currency: ISO 4217; empty: the rule's own.

    Raises:
        ConfigError: A file, row or field is not what it should be, or the rule doesn't hold; what would do is named.
    """
    zone = zone_of(rule_id, Regulation)
    samples = Samples.of(
        read_rows(
            samples_file,
            [
                Field("signal", -MOST_MW, MOST_MW), Field("response", -MOST_MW, MOST_MW, may_be_empty=True),
                Field("reference", -MOST_MW, MOST_MW, math.nan, may_be_empty=True),
            ],
            has_cause=False,
        )
    )  # fmt: skip
    hours = read_rows(
        hours_file,
        [
            Field("mw", 0.0, MOST_MW), Field("rmccp", -MOST_PRICE, MOST_PRICE),
            Field("rmpcp", -MOST_PRICE, MOST_PRICE), Field(RATIO, 0.0, 1_000.0, math.nan, may_be_empty=True),
        ],
    )  # fmt: skip
    book = open_book(rule_id, zone, currency, [samples_file, hours_file], samples_file)
    rules = [rule_of(rule_id, Regulation, book.day(int(at))) for at in hours.starts_ns.tolist()]
    scored, unread = _scores(samples, hours, rules)
    told = []
    for at, (rule, found) in enumerate(zip(rules, scored, strict=True)):
        start_ns = int(hours.starts_ns[at])
        total = exact(round(found.total, 6))
        hour = Hour(
            str(hours.resources[at]), start_ns, start_ns + HOUR_NS, hours.exact("mw", at), hours.exact("rmccp", at),
            hours.exact("rmpcp", at), _ratio(samples, hours, at, rule), total, _lost_by(hours, at, unread[at]),
        )  # fmt: skip
        book.lines += credit_lines(book.basis(rule), hour)
        told.append(_told_hour(book, hour, found, rule))
        if unread[at]:
            book.flags.append(f"{hours.where(at)}: {unread[at]} samples without a response: they count as 0")
        if found.still:
            book.flags.append(
                f"{hours.where(at)}: signal or response stands still over {found.still} of {found.windows} windows: "
                "no correlation, accuracy and delay are 0 there"
            )
    return book.told(hours=told)


def _scores(samples: Samples, hours: Rows, rules: list[Regulation]) -> tuple[list[Score], list[int]]:
    """Return each hour's score and how many of its samples have no response; hours of one rule are scored at once."""
    signals: list[Floats] = []
    responses: list[Floats] = []
    unread = []
    for at, rule in enumerate(rules):
        start_ns = int(hours.starts_ns[at])
        where = samples.within(hours, at, (start_ns, start_ns + HOUR_NS), rule.sample_s * SECOND_NS)
        response = samples.rows.numbers["response"][where]
        unread.append(int(np.isnan(response).sum()))
        signals.append(samples.rows.numbers["signal"][where])
        responses.append(np.nan_to_num(response))
    found: dict[int, Score] = {}
    for rule in dict.fromkeys(rules):
        mine = [at for at, each in enumerate(rules) if each == rule]
        made = score_columns(rule, np.array([signals[at] for at in mine]), np.array([responses[at] for at in mine]))
        found |= dict(zip(mine, made, strict=True))
    return [found[at] for at in range(len(rules))], unread


def _ratio(samples: Samples, hours: Rows, at: int, rule: Regulation) -> Decimal:
    given = hours.exact_or_none(RATIO, at)
    if given is not None:
        return given
    start_ns = int(hours.starts_ns[at])
    where = samples.within(hours, at, (start_ns, start_ns + HOUR_NS), rule.sample_s * SECOND_NS)
    reference = samples.rows.numbers["reference"][where]
    moved = mileage(reference)
    if not moved > 0:
        told = "a reference that moves" if moved == 0 else "it, or a column reference in the samples"
        raise ConfigError(f"{hours.where(at)}: {RATIO} = empty: give {told}")
    return exact(round(mileage(samples.rows.numbers["signal"][where]) / moved, 6))


def _lost_by(hours: Rows, at: int, unread: int) -> dict[str, float]:
    if str(hours.causes[at]):
        return {str(hours.causes[at]): 1.0}
    return {"no_meter_data": float(unread), "underperformed": float(360 - unread)}


def _told_hour(book: Book, hour: Hour, found: Score, rule: Regulation) -> dict[str, Any]:
    return {
        "resource": hour.resource, "start": from_ns(hour.start_ns).astimezone(book.zone).isoformat(),
        "score": float(hour.score), "accuracy": found.accuracy, "delay": found.delay, "precision": found.precision,
        "lag_s": found.lag_s, "mileage_ratio": float(hour.mileage_ratio), "windows": found.windows,
        "still": found.still, "qualifies": found.total >= rule.qualify_frac,
    }  # fmt: skip


def reserve_of(rule_id: str, samples_file: Path, blocks_file: Path, currency: str = "") -> dict[str, Any]:
    """Return what blocks of a frequency reserve are paid, as `tieline settle reserve` prints it.

    Args:
        rule_id: `eu-fcr`, `gb-dynamic-containment` and its kin, or `eu-afrr`.
        samples_file: `start,hertz,actual_mw` (aFRR: `start,set_point_mw,actual_mw`); `resource`, `cause`.
        blocks_file: `start,minutes,mw,price` (per MW and hour); `energy_price` (per MWh), `resource`.
        currency: ISO 4217; empty: the rule's own.

    Raises:
        ConfigError: A file, row or field is not what it should be; what would do is named.
    """
    form = next(
        (type(r) for r in product_rules() if r.id == rule_id and isinstance(r, FrequencyCurve | SetPoint)), None
    )
    if form is None:
        names = sorted({r.id for r in product_rules() if isinstance(r, FrequencyCurve | SetPoint)})
        raise ConfigError(f"reserve rule {rule_id!r} is unknown: give one of {', '.join(names)}")
    asked_by = Field("hertz", 40.0, 70.0) if form is FrequencyCurve else Field("set_point_mw", -MOST_MW, MOST_MW)
    samples = Samples.of(read_rows(samples_file, [asked_by, Field("actual_mw", -MOST_MW, MOST_MW, may_be_empty=True)]))
    blocks = read_rows(
        blocks_file,
        [
            MINUTES, Field("mw", 0.0, MOST_MW), Field("price", -MOST_PRICE, MOST_PRICE),
            Field("energy_price", -MOST_PRICE, MOST_PRICE, 0.0),
        ],
        has_cause=False,
    )  # fmt: skip
    require_apart(blocks)
    book = open_book(rule_id, zone_of(rule_id, form), currency, [samples_file, blocks_file], samples_file)
    told = []
    for at in range(len(blocks)):
        over = over_of(blocks, at)
        rule: Dated = rule_of(rule_id, form, book.day(over[0]))
        step_ns = samples.step_ns(str(blocks.resources[at]))
        where = samples.within(blocks, at, over, step_ns)
        found = _delivery(rule, samples.rows, where, blocks, at, step_ns / SECOND_NS)
        block = Block(
            str(blocks.resources[at]), *over, blocks.exact("mw", at), blocks.exact("price", at),
            exact(round(found.frac, 9)), found.causes(_lacking_by(samples.rows, where, found)),
            energy_mwh(found, step_ns / SECOND_NS), blocks.exact("energy_price", at),
        )  # fmt: skip
        book.lines += block_lines(book.basis(rule), block)
        told.append(_told_block(book, block, found))
        if found.unread.any():
            book.flags.append(
                f"{blocks.where(at)}: {int(found.unread.sum())} samples without a reading: nothing delivered"
            )
    return book.told(blocks=told)


def _delivery(rule: Dated, rows: Rows, where: slice, blocks: Rows, at: int, sample_s: float) -> Delivery:
    actual = rows.numbers["actual_mw"][where]
    sold = float(blocks.numbers["mw"][at])
    if isinstance(rule, FrequencyCurve):
        return fcr_delivery(rule, np.full(len(actual), sold), rows.numbers["hertz"][where], actual)
    assert isinstance(rule, SetPoint)  # `reserve_of` asks for one of the two
    asked = rows.numbers["set_point_mw"][where]
    beyond = np.flatnonzero(np.abs(asked) > sold + 1e-9)
    if len(beyond):
        k = where.start + int(beyond[0])
        told = f"set_point_mw = {asked[beyond[0]]:g}: {blocks.where(at)} sells {sold:g} MW"
        raise FaultyRows([f"{rows.where(k)}: {told}"])
    return afrr_delivery(rule, asked, actual, sample_s)


def _lacking_by(rows: Rows, where: slice, found: Delivery) -> dict[str, float]:
    causes: NDArray[np.str_] = rows.causes[where]
    read = ~found.unread
    return {
        str(name): float(found.lacking_mw[read & (causes == name)].sum()) for name in np.unique(causes) if str(name)
    }


def _told_block(book: Book, block: Block, found: Delivery) -> dict[str, Any]:
    return {
        "resource": block.resource, "start": from_ns(block.start_ns).astimezone(book.zone).isoformat(),
        "mw": float(block.sold_mw), "delivered_share": float(block.delivered_frac),
        "called_samples": int((found.asked_mw != 0).sum()), "samples": len(found.asked_mw),
        "lacking_by_cause": {
            name: {"mw_samples": mw, "excused": is_excused(name)} for name, mw in sorted(block.causes.items())
        },
        "energy_mwh": float(block.energy_mwh),
    }  # fmt: skip
