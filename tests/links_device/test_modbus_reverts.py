"""What a SunSpec device's owner had set holds again as the device's own timer ends, though no server of ours lives."""

import math

import modbus_room
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from modbus_room import MODELS
from owners_house import AWAY, BACK, CLEARS, CUT, DIE, FREE, HEARS, LASTS_S, SHUT, Call, House, Owns, play

from tieline.simulate.sunspec_device import SunSpecDevice

OVER_S = LASTS_S + 20.0


class Forgets(SunSpecDevice):
    """One whose timer register shows 0 once its timer has ended, as others' goes on showing what it was told."""

    def _age(self) -> None:
        before = dict(self._ends_ns)
        super()._age()
        for name, end_ns in before.items():
            if end_ns and not self._ends_ns[name]:
                self._lay(704, f"{name}RvrtTms", 0.0)


def lacks(*names: str) -> type[SunSpecDevice]:
    """Return a device that implements none of these points."""

    class Lacks(SunSpecDevice):
        def _clear(self) -> None:
            super()._clear()
            for name in names:
                field = MODELS[704].field(name)
                absent = field.absent
                for nth in range(field.size):
                    self.registers[704][field.offset + nth] = absent >> 16 * (field.size - 1 - nth) & 0xFFFF

        def write(self, start: int, values: tuple[int, ...]) -> bool:
            before = list(self.registers[704])
            is_taken = super().write(start, values)
            for name in names:
                at = MODELS[704].field(name).offset
                self.registers[704][at : at + MODELS[704].field(name).size] = before[
                    at : at + MODELS[704].field(name).size
                ]
            return is_taken

    return Lacks


def timers(house: House) -> tuple[float, float]:
    return house.device._value("WSetRvrtTms"), house.device._value("WMaxLimPctRvrtTms")


owns = pytest.mark.parametrize("own", [Owns(limit=60.0), Owns(-800.0), Owns(3_300.0, 70.0)])
makes = pytest.mark.parametrize("make", [SunSpecDevice, Forgets], ids=["shows its timer", "shows none"])
asked = pytest.mark.parametrize("call", [Call(2_000.0), Call(math.nan, 1_000.0), Call(-1_500.0, 500.0)])


@owns
@makes
@asked
def test_what_an_owner_had_set_holds_again_where_the_server_died_and_none_came_back(
    own: Owns, make: type[SunSpecDevice], call: Call, writes: str
) -> None:
    house = play([(own, 0.0), (None, 20.0), (call, 20.0), (DIE, OVER_S)], make=make)
    assert house.holds == (own.power_w, own.limit)


@owns
@makes
@asked
@pytest.mark.parametrize("ends", [
    [(DIE, OVER_S), (None, 20.0)], [(DIE, 0.0), (None, OVER_S)], [(SHUT, OVER_S), (HEARS, 200.0)],
], ids=["after it", "before it", "away at it"])  # fmt: skip
def test_who_comes_back_finds_it_the_owners_says_nothing_of_it_and_leaves_no_timer_there(
    own: Owns, make: type[SunSpecDevice], call: Call, ends: list, writes: str
) -> None:
    house = play([(own, 0.0), (None, 20.0), (call, 20.0), *ends], make=make)
    assert house.holds == (own.power_w, own.limit)
    held = [timer for timer, what in zip(timers(house), house.holds, strict=True) if what is not None]
    assert held == [0.0] * len(held)
    assert not any("did not write" in error or "not trusted" in error for error in house.errors)
    again = play([(own, 0.0), (None, 20.0), (call, 20.0), *ends, (Call(1_000.0), 20.0), (FREE, 20.0)], make=make)
    assert again.holds == (own.power_w, own.limit)


def test_an_owners_power_in_percent_is_reverted_to_in_watts_and_given_back_in_percent(writes: str) -> None:
    """Of its own WMax of 5,000 W, -16 % are -800 W."""

    class InPercent(SunSpecDevice):
        def _clear(self) -> None:
            super()._clear()
            for name, value in (("WSetPct_SF", 0.0), ("WSetPct", -16.0), ("WSetPctRvrt", 0.0), ("WSetEna", 1.0)):
                self._lay(704, name, value)

    def held(house: House) -> tuple[float, ...]:
        house.device._age()
        return tuple(house.device._value(name) for name in ("WSetEna", "WSetMod", "WSet", "WSetPct"))

    deeds = [(None, 20.0), (Call(2_000.0), 20.0), (DIE, OVER_S)]
    assert held(play(deeds, make=InPercent)) == (1.0, 1.0, -800.0, -16.0)
    house = play([*deeds, (None, 200.0)], make=InPercent)
    assert (held(house)[0:2], held(house)[3]) == ((1.0, 0.0), -16.0)
    assert held(play([*deeds[:2], (FREE, 30.0)], make=InPercent))[0:2] == (1.0, 0.0)


def test_a_limit_alone_leaves_an_owner_the_power_that_he_set_and_may_end_meanwhile(writes: str) -> None:
    deeds = [(Owns(-800.0), 0.0), (None, 20.0), (Call(math.nan, 1_000.0), 40.0)]
    assert play(deeds).holds == (-800.0, 20.0)
    assert play([*deeds, (Owns(-500.0), 40.0)]).holds == (-500.0, 20.0)
    house = play([*deeds, (Owns(-500.0), 40.0), (DIE, OVER_S)])
    assert house.holds == (-500.0, None)


@pytest.mark.parametrize(
    "names", [("WMaxLimPctRvrt",), ("WMaxLimPctEnaRvrt",), ("WMaxLimPctRvrt", "WMaxLimPctEnaRvrt")]
)
def test_who_lacks_the_registers_does_what_it_is_told_and_gets_the_owners_limit_back_from_a_server(
    names: tuple[str, ...], writes: str
) -> None:
    deeds = [(Owns(limit=60.0), 0.0), (None, 20.0), (Call(math.nan, 1_000.0), 20.0)]
    assert play(deeds, make=lacks(*names)).holds == (None, 20.0)
    assert play([*deeds, (DIE, OVER_S), (None, 40.0)], make=lacks(*names)).holds == (None, 60.0)


def test_who_drops_what_is_to_hold_after_its_timer_is_told_of_once(writes: str) -> None:
    class Drops(SunSpecDevice):
        def _start_timers(self) -> None:
            self._lay(704, "WMaxLimPctEnaRvrt", 0.0)
            super()._start_timers()

    deeds = [(Owns(limit=60.0), 0.0), (None, 20.0), (Call(math.nan, 1_000.0), 20.0), (Call(math.nan, 500.0), 20.0)]
    house = play(deeds, make=Drops)
    assert house.holds == (None, 10.0)
    assert any("does not take what is to hold after its timer" in error for error in house.errors)
    assert not any("does not take what is to hold" in error for error in play(deeds).errors)


def test_the_defaults_for_the_end_of_a_timer_are_the_owners_again_after_a_release(writes: str) -> None:
    class Defaults(SunSpecDevice):
        def _clear(self) -> None:
            super()._clear()
            self._lay(704, "WMaxLimPctRvrt", 45.0)

    deeds = [(Owns(limit=60.0), 0.0), (None, 20.0), (Call(math.nan, 1_000.0), 20.0)]
    house = play([*deeds, (Owns(limit=55.0), 40.0), (Call(math.nan, 500.0), 20.0), (FREE, 20.0)], make=Defaults)
    assert house.holds == (None, 55.0)
    assert (house.device._value("WMaxLimPctRvrt"), house.device._value("WMaxLimPctEnaRvrt")) == (45.0, 0.0)


calls = st.sampled_from(
    [Call(2_000.0), Call(-1_500.0), Call(math.nan, 1_000.0), Call(math.nan, 4_000.0), Call(4_444.0, 4_500.0)]
)
owners = st.sampled_from([Owns(limit=60.0), Owns(limit=30.0), Owns(-700.0, 55.0), Owns(3_300.0)])
others = st.sampled_from([FREE, FREE, DIE, DIE, CUT, SHUT, HEARS, AWAY, BACK, CLEARS])
waits = st.sampled_from([0.02, 0.1, 1.0, 5.0, 30.0, 400.0])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(calls | owners | others, waits), max_size=12), st.booleans(),
    st.sampled_from([SunSpecDevice, Forgets]), st.sampled_from(["block", "steps"]),
)  # fmt: skip
@example([(Call(math.nan, 1_000.0), 1.0), (DIE, 400.0)], False, SunSpecDevice, "block")
@example([(Call(math.nan, 4_000.0), 5.0), (Owns(limit=30.0), 400.0)], True, Forgets, "steps")
def test_a_limit_that_is_known_is_crossed_at_no_time_until_its_owner_moves_it(
    deeds: list[tuple[object, float]], is_calm: bool, make: type[SunSpecDevice], writes: str
) -> None:
    """Calls, releases, deaths, cuts, silence, a journal that is away, in any order, and an owner who moves his limit.

    Where it is calm, each command is confirmed before anything else happens, and it stays known for good. Else a
    server may die before it was seen that the device keeps timers: of what is found there then nothing is known.
    """
    modbus_room.WRITES = writes
    if is_calm:
        deeds = [(deed, max(wait_s, 5.0)) for deed, wait_s in deeds if deed not in (SHUT, AWAY, CUT)]
    known, crossed = [math.inf], []

    def watch(house: House) -> None:
        now, link, held = math.inf if house.limit is None else house.limit, house.link, house.holds[1]
        words = link.devices[7].commanded.owner.own.words[1] if link is not None else ()
        if link is not None and not words and not is_calm:
            known[0] = math.inf
        known[0] = now if words and words[1] / 10 == now else max(known[0], now)
        if (100.0 if held is None else held) > min(known[0], 100.0):
            crossed.append((house.clock.now_ns(), held, known[0]))

    play([(Owns(limit=60.0), 0.0), (None, 20.0), *deeds, (DIE, 1_000.0)], make=make, watch=watch)
    assert not crossed
