"""Names read from JSON text are found as a dictionary would find them."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.store.names import Names

TEXTS = st.lists(st.text(max_size=12), max_size=30)


@given(st.lists(st.text(max_size=12), max_size=40, unique=True), TEXTS, st.data())
def test_rows_are_those_of_a_dictionary_however_the_list_is_written(
    ids: list, others: list, data: st.DataObject
) -> None:
    asked = data.draw(st.permutations(ids)) + others
    rows = {name: row for row, name in enumerate(ids)}
    expected = [rows.get(name, -1) for name in asked]
    for text in (
        json.dumps(asked).encode(),
        json.dumps(asked, ensure_ascii=False).encode("utf-8", "surrogatepass"),
        json.dumps(asked, separators=(",", ":")).encode(),
        json.dumps(asked, indent=2).encode(),
    ):
        assert Names(ids).rows_of(text, 100).tolist() == expected


@pytest.mark.parametrize(
    "text", [b"", b"[", b'["a"', b'["a",]', b'["a" "b"]', b"[1]", b'{"a":1}', b'["a"]]', b'["\x01"]']
)
def test_what_is_no_list_of_strings_is_refused(text: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        Names(["a", "b"]).rows_of(text, 10)


def test_a_list_longer_than_the_limit_is_told_by_its_length() -> None:
    assert len(Names(["a"]).rows_of(json.dumps(["a"] * 50).encode(), 10)) > 10
