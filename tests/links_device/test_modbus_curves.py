"""Volt-var, volt-watt and droop over models 705, 706 and 711: adopted, refused with the reason, and given back."""

import asyncio

import pytest
from curves_room import ALL, DROOP, VAR, WATT, House, play

from tieline.desk.inverter_facts import RefusedFor, Stands, Stood
from tieline.grid.inverter_settings import InverterSettings


def _adopted(*functions: str) -> dict[str, Stood]:
    return {name: Stood(name, Stands.ADOPTED) for name in functions}


@pytest.mark.parametrize("writes", ["block", "steps"])
def test_a_device_adopts_all_three_switches_them_on_and_does_what_they_say(writes: str) -> None:
    async def scene(house: House) -> None:
        house.roof.voltage_pu = 1.07
        before = house.roof.read()
        assert before["power_w"] == pytest.approx(4_500.0) and before["reactive_var"] == pytest.approx(0.0)
        assert await house.ask(ALL) == _adopted("volt_var", "volt_watt", "droop")
        assert house.holds(705, "Pt[1].V", "Pt[2].V", "Pt[3].V", "Pt[4].V") == [90, 97, 103, 110]
        assert house.holds(705, "Pt[1].Var", "Pt[4].Var", "RspTms", "DeptRef") == [30, -40, 8, 3]
        assert house.holds(706, "Pt[1].V", "Pt[2].V", "Pt[2].W", "RspTms") == [105, 109, 20, 5]
        assert house.holds(711, "DbOf", "DbUf", "KOf", "KUf", "RspTms") == pytest.approx([0.05, 0.1, 0.04, 0.03, 2])
        await asyncio.sleep(120)
        seen = house.roof.read()
        # 1.07 pu: 4/7 of the way from 0 at 1.03 to 40 % at 1.10 absorbed; half way from all to 20 %: 60 % of 5 kW.
        assert seen["reactive_var"] == pytest.approx(-0.4 * 4 / 7 * 5_000.0, rel=1e-3)
        assert seen["power_w"] == pytest.approx(3_000.0, rel=1e-3)

    play(scene, writes)


def test_a_curve_that_was_chosen_for_a_feeder_gives_way_to_the_owners_when_it_is_taken_back() -> None:
    async def scene(house: House) -> None:
        stored = {number: list(one.registers) for number, one in house.curves.items()}
        await house.ask(ALL)
        assert house.curves[705].registers != stored[705]
        told = await house.ask(None)
        assert {one.stands for one in told.values()} == {Stands.GIVEN_BACK}
        for number, one in house.curves.items():
            one._put(one.bank.request, 0)  # by which the last was asked for; there is no other than zero to go back to
            assert one.registers == stored[number], number
        assert not house.kept.at(7)

    play(scene)


def test_what_is_left_out_stays_as_its_owner_has_it() -> None:
    async def scene(house: House) -> None:
        before = list(house.curves[706].registers), list(house.curves[711].registers)
        assert await house.ask(InverterSettings("pv-1", volt_var=VAR)) == _adopted("volt_var")
        assert (house.curves[706].registers, house.curves[711].registers) == before
        assert await house.ask(InverterSettings("pv-1", droop=DROOP)) == _adopted("droop") | {
            "volt_var": Stood("volt_var", Stands.GIVEN_BACK)
        }

    play(scene)


@pytest.mark.parametrize(
    ("how", "word"),
    [
        ({"numbers": (706, 711)}, RefusedFor.NO_MODEL),
        ({"others": {705: {"fails": True}}}, RefusedFor.FAILED),
        ({"others": {705: {"hangs": True}}}, RefusedFor.TIMEOUT),
        ({"others": {705: {"twists": True}}}, RefusedFor.OTHER),
        ({"others": {705: {"is_read_only": True}}}, RefusedFor.NO_SLOT),
        ({"others": {705: {"curves": 1}}}, RefusedFor.NO_SLOT),
    ],
)  # fmt: skip
def test_a_device_that_does_not_adopt_says_why_and_the_other_functions_go_on(how: dict, word: RefusedFor) -> None:
    async def scene(house: House) -> None:
        told = await house.ask(ALL, 90.0)
        assert (told["volt_var"].stands, told["volt_var"].word) == (Stands.REFUSED, word)
        assert told["volt_watt"] == Stood("volt_watt", Stands.ADOPTED)
        writes = house.device.writes
        await asyncio.sleep(2_000)
        assert house.device.writes == writes, "a refusal is final: nobody is asked again and again"
        assert any("volt_var refused" in error for error in house.log.errors)

    play(scene, **how)


def test_more_points_than_it_stores_are_refused_and_nothing_is_written() -> None:
    async def scene(house: House) -> None:
        told = await house.ask(InverterSettings("pv-1", volt_var=VAR))
        assert told["volt_var"].word is RefusedFor.NO_ROOM and "4 points: it stores 2" in told["volt_var"].why
        assert house.device.writes == 0

    async def narrow(house: House) -> None:
        bank = house.curves[705].bank.model.field("NPt")
        house.curves[705].registers[bank.offset] = 2
        await scene(house)

    play(narrow)


def test_a_device_that_refuses_writes_says_so() -> None:
    async def scene(house: House) -> None:
        house.device.refuses = True
        told = await house.ask(InverterSettings("pv-1", volt_watt=WATT))
        assert (told["volt_watt"].stands, told["volt_watt"].word) == (Stands.REFUSED, RefusedFor.READ_ONLY)

    play(scene)


def test_nothing_is_written_while_somebodys_reversion_timer_runs() -> None:
    async def scene(house: House) -> None:
        field = house.curves[705].bank.model.field("RvrtRem")
        house.curves[705].registers[field.offset + 1] = 300
        told = await house.ask(InverterSettings("pv-1", volt_var=VAR))
        assert (told["volt_var"].word, house.device.writes) == (RefusedFor.TIMER, 0)
        house.curves[705].registers[field.offset + 1] = 0
        await asyncio.sleep(700)
        assert house.stood == _adopted("volt_var")

    play(scene)


def test_the_next_server_tells_a_device_nothing_that_it_holds_and_gives_back_what_the_first_had_found() -> None:
    async def first(house: House) -> None:
        await house.ask(ALL)

    house_before: dict = {}

    async def both(house: House) -> None:
        house_before["owner"] = house.holds(705, "Pt[1].V")
        await first(house)
        writes = house.device.writes

        async def second(house: House) -> None:
            assert house.holds(705, "Pt[1].V") == [90], "nothing is given back before it is known what is wished"
            assert await house.ask(ALL) == _adopted("volt_var", "volt_watt", "droop")
            assert house.device.writes == writes
            await house.ask(None)
            assert house.holds(705, "Pt[1].V") == house_before["owner"] == [92]

        await house.serve(second)

    play(both)


def test_what_somebody_else_sets_meanwhile_is_told_of_and_stays_but_a_reboot_is_answered() -> None:
    async def scene(house: House) -> None:
        await house.ask(InverterSettings("pv-1", volt_var=VAR))
        stored = house.curves[705]
        for name, words in stored.bank.contents(2, stored.registers).items():  # slot 2 holds what it came with
            at = stored.bank.model.field(stored.bank.name(1, name)).offset
            stored.registers[at : at + len(words)] = words
        stored._put("Ena", 0)
        await asyncio.sleep(700)
        assert house.stood == _adopted("volt_var")
        assert house.holds(705, "Pt[1].V") == [90]
        stored.registers[stored.bank.model.field("Crv[1].Pt[1].V").offset] = 8_800
        await asyncio.sleep(700)
        assert house.stood["volt_var"].stands is Stands.DISPLACED
        told = await house.ask(None)
        assert told["volt_var"].stands is Stands.GIVEN_BACK and "which stays" in told["volt_var"].why
        assert house.holds(705, "Pt[1].V") == [88]

    play(scene)


def test_a_connection_that_breaks_while_it_adopts_is_taken_up_again() -> None:
    async def scene(house: House) -> None:
        assert house.link is not None
        house.link.adjust({7: ALL})
        await asyncio.sleep(0.5)
        house.server.drop()
        await asyncio.sleep(60)
        assert house.stood == _adopted("volt_var", "volt_watt", "droop")
        await house.ask(None)
        assert house.holds(706, "Pt[1].V", "RspTms") == [106, 10]

    play(scene)


def test_a_response_time_that_it_does_not_implement_is_said() -> None:
    async def scene(house: House) -> None:
        told = await house.ask(InverterSettings("pv-1", volt_watt=WATT))
        assert told["volt_watt"].stands is Stands.ADOPTED and "response time" in told["volt_watt"].why

    play(scene, others={706: {"lacks": ("RspTms",)}})
