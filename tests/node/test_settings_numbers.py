"""A number in the settings that is infinite, none at all, or beyond what a number holds is refused by its path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from tieline.errors import ConfigError
from tieline.node.config import Settings, load_config
from tieline.node.faults import fields_of

Steps = tuple[str | int, ...]


def places(kind: Any, at: Steps = ()) -> Iterator[Steps]:
    """Yield where each number of a type stands: names of keys, and 0 for the first of a list."""
    match kind:
        case inspect.FloatType() | inspect.IntType():
            yield at
        case inspect.StructType(fields=fields):
            for field in fields:
                yield from places(field.type, (*at, field.encode_name))
        case inspect.UnionType(types=types):
            for one in types:
                yield from places(one, at)
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            yield from places(item, (*at, 0))
        case inspect.DictType(value_type=value):
            yield from places(value, (*at, "any-1"))


NUMBERS = sorted(set(places(inspect.type_info(Settings))), key=str)
NEEDED = ("port", ("links", "modbus", 0, "poll_s"), ("limits", "feeder_move_w", "any-1"), ("readings", "ahead_s"))


def path_of(place: Steps) -> str:
    """Return a place as refusals write it."""
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)


def inline(place: Steps, number: str) -> str:
    """Return a TOML value that holds a number at a place within."""
    if not place:
        return number
    first, rest = place[0], inline(place[1:], number)
    return f"[{rest}]" if isinstance(first, int) else f"{{ {first} = {rest} }}"


def refusal(folder: Path, place: Steps, number: str) -> dict[str, str | None]:
    """Return what settings that hold a number at a place are refused with."""
    file = folder / "tieline.toml"
    file.write_text(f"{place[0]} = {inline(place[1:], number)}\n")
    with pytest.raises(ConfigError) as refused:
        load_config(file)
    assert str(refused.value).startswith(f"{file}: ")
    return fields_of(str(refused.value))


def test_the_settings_have_numbers_in_every_part() -> None:
    assert len(NUMBERS) >= 30
    assert {(place,) if isinstance(place, str) else place for place in NEEDED} <= set(NUMBERS)


@pytest.mark.parametrize("place", NUMBERS, ids=map(path_of, NUMBERS))
def test_a_number_that_is_not_finite_is_refused_wherever_the_settings_have_one(tmp_path: Path, place: Steps) -> None:
    for number, value in (("inf", "inf"), ("-inf", "-inf"), ("nan", "nan"), ("1e400", "inf"), ("-1e309", "-inf")):
        said = refusal(tmp_path, place, number)
        assert (said["field"], said["value"]) == (path_of(place), value), said
        assert said["limit"] == "give a finite number"


@given(place=st.sampled_from(NUMBERS), digits=st.integers(20, 6_000), sign=st.sampled_from(["", "-"]))
def test_a_whole_number_beyond_all_use_is_refused_by_its_path_or_its_length_and_never_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, place: Steps, digits: int, sign: str
) -> None:
    file = tmp_path_factory.mktemp("whole") / "tieline.toml"
    file.write_text(f"{place[0]} = {inline(place[1:], sign + '9' * digits)}\n")
    with pytest.raises(ConfigError) as refused:
        load_config(file)
    assert len(str(refused.value)) < 400
    assert digits > 4_300 or fields_of(str(refused.value))["field"] == path_of(place)


def test_every_number_that_is_not_finite_is_told_and_the_first_first(tmp_path: Path) -> None:
    (tmp_path / "tieline.toml").write_text('port = nan\n[pools."a b"]\noperator_frac = inf\n')
    with pytest.raises(ConfigError, match=r"nan at \$\.port: give a finite number") as refused:
        load_config(tmp_path / "tieline.toml")
    assert "inf at $.pools.a b.operator_frac" in str(refused.value)
