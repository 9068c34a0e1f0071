"""Generated pages are those that the code makes today."""

from pathlib import Path

import pytest

from tieline.errors import ConfigError
from tieline.market.participation import as_rows, markets
from tieline.node.reference import PAGES
from tieline.resource.point import by_code, json_schema, load, markdown, points

ROOT = Path(__file__).parents[2]


def test_the_page_of_points_is_the_catalogue() -> None:
    assert (ROOT / "docs" / "reference" / "points.md").read_text().endswith(markdown())
    assert len(points()) >= 45
    assert len(by_code()) == len(points())
    assert set(json_schema()["properties"]) == set(points())


@pytest.mark.parametrize(
    "name",
    [name for name in PAGES if name != "points.md"],
)
def test_a_generated_page_is_what_the_code_says_today(name: str) -> None:
    page = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert page == PAGES[name](), f"{name} is old: run `make reference`"


def test_every_market_has_a_page_with_every_figure_its_mark_and_its_source() -> None:
    for market in markets().values():
        page = (ROOT / "docs" / "reference" / f"market-{market.id}.md").read_text(encoding="utf-8")
        for model in market.model:
            assert f"## {model.id} {model.version}" in page
            for row in as_rows(market, model):
                assert f"| {row['mark']} | {row['source']} |" in page


def test_a_point_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="p: "):
        load('[p]\ncode = 1\nunit = "W"\n')
    row = '[{}]\ncode = 1\nunit = "W"\nsign = ""\naccess = "r"\ndtype = "float64"\nstale_after_s = 1\nsays = "x"\n'
    with pytest.raises(ConfigError, match=r"b.code = 1: give a free code"):
        load(row.format("a") + row.format("b"))
