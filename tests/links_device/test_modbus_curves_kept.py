"""What an owner had of curves is in the journal before anything is written over it, and outlives each server of ours."""

import asyncio

from curves_room import ALL, VAR, House, play
from kept_room import Records

from tieline.desk.inverter_facts import Stands
from tieline.grid.inverter_settings import InverterSettings
from tieline.links.device.modbus.curves import JournaledCurves


def _with(house: House, journal: Records) -> None:
    """Have the next server of ours keep what owners had in a journal, as it was left by the one before."""
    kept = JournaledCurves(
        "modbus", journal, house.clock, lambda run, name: asyncio.get_running_loop().create_task(run)
    )
    kept.restore(journal)
    house.kept = kept


def test_nothing_is_written_over_an_owners_curve_while_the_journal_is_away() -> None:
    async def scene(house: House) -> None:
        journal = Records(is_down=True)
        _with(house, journal)

        async def second(house: House) -> None:
            told = await house.ask(ALL, 60.0)
            assert {one.stands for one in told.values()} == {Stands.ASKED}
            assert (house.device.writes, journal.kept) == (0, [])
            journal.is_down = False
            await asyncio.sleep(30)
            assert {one.stands for one in house.stood.values()} == {Stands.ADOPTED}

        await house.serve(second)

    play(scene)


def test_the_next_server_gives_back_from_the_journal_what_the_first_had_found() -> None:
    async def scene(house: House) -> None:
        journal, before = Records(), list(house.curves[705].registers)
        _with(house, journal)

        async def first(house: House) -> None:
            await house.ask(InverterSettings("pv-1", volt_var=VAR))
            assert house.holds(705, "Pt[1].V") == [90]

        async def second(house: House) -> None:
            assert (await house.ask(None))["volt_var"].stands is Stands.GIVEN_BACK
            house.curves[705]._put("AdptCrvReq", 0)
            assert house.curves[705].registers == before

        await house.serve(first)
        _with(house, journal)
        await house.serve(second)
        _with(house, journal)
        assert house.kept.at(7) == {}

    play(scene)
