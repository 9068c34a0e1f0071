"""A day whose award was priced below our offer settles at that price, says so, and anew once the market mends it."""

from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

from msgspec.structs import replace
from test_settled_days import Hands, Served, play

from tieline.desk.ports import Award, Offer, Segment
from tieline.node.read_market import settlement_view
from tieline.times import HOUR_NS, market_day

CHICAGO = ZoneInfo("America/Chicago")
OVER = market_day(date(2022, 8, 17), CHICAGO)
START_NS, FIRST_NS = OVER.start_ns + 17 * HOUR_NS, market_day(date(2022, 8, 2), CHICAGO).start_ns
OFFER = Offer("o", "pool-1", "ENERGY", START_NS, START_NS + HOUR_NS, (Segment(60_000.0, 30.0), Segment(40_000.0, 40.0)))
AWARD = Award("a", "o", "pool-1", "ENERGY", START_NS, START_NS + HOUR_NS, 100_000.0, 10.0)
SAYS = (
    "award a: the award is priced below the offer; price_per_mwh = 10.00; "
    "limit 40.00 $/MWh or more at 100.0 kW of offer o"
)


def test_the_statement_names_the_disputed_price_and_a_mended_one_makes_its_next_version(tmp_path: Path) -> None:
    async def scene(served: Served, clock: Hands) -> None:
        clock.at_ns = OVER.start_ns
        assert await served.node.desk.offer([OFFER]) == [None]
        assert await served.node.desk.awards([AWARD], "frame") == [None]
        await served.priced(START_NS, 100.0)
        for row in (0, 1):
            served.read(row, FIRST_NS, OVER.end_ns, lambda at: -2.5e5 if START_NS <= at < START_NS + HOUR_NS else -3e5)
        clock.at_ns = OVER.end_ns
        (statement,) = (await served.day()).statements
        assert statement.total == "1.00"  # 0.1 MWh at the $10 that bind till the market mends them
        assert statement.body["disputed"] == {"a": SAYS}
        assert statement.body["flags"] == [f"settled at a price that is disputed: {SAYS}"]
        assert (await served.day()).statements == (statement,)
        clock.at_ns += HOUR_NS
        assert await served.node.desk.awards([replace(AWARD, price_per_mwh=42.0)], "corrected") == [None]
        first, second = (await served.day()).statements
        assert (first, second.version, second.total) == (statement, 2, "4.20")
        assert (second.body["disputed"], second.body["flags"]) == ({}, [])
        lines = settlement_view(served.node.state, served.node.journal, clock.at_ns).statements[-1].lines
        assert [(line.kind, line.amount) for line in lines] == [("adjustment", "3.20")]

    play(tmp_path, scene)
