"""A page that tells how an event is called says under which program, and where programs are listed."""

from pathlib import Path

import pytest

from tieline.desk.agreed import DEMAND_RESPONSE

PAGES = sorted((Path(__file__).parents[2] / "docs").rglob("*.md"))
TELLING = [page for page in PAGES if "POST /api/v1/events`" in page.read_text(encoding="utf-8")]


def test_some_page_tells_how_an_event_is_called() -> None:
    assert "connect.md" in [page.name for page in TELLING]


@pytest.mark.parametrize("page", TELLING, ids=lambda page: page.name)
def test_where_an_event_is_called_first_the_program_that_is_always_there_is_named_with_the_list(page: Path) -> None:
    paragraphs = page.read_text(encoding="utf-8").split("\n\n")
    first = next(paragraph for paragraph in paragraphs if "POST /api/v1/events`" in paragraph)
    assert f"`{DEMAND_RESPONSE[0]}`" in first
    assert "`GET /api/v1/programs`" in first
