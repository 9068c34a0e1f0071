"""Has a SunSpec device adopt curves, sees whether it did, and gives back what its owner had.

Theory of operation. A curve is written into a stored one that may be written (the last: installers use the first),
asked for by its number, and in force once the result says COMPLETED and the first curve, which shows what is in force,
holds it; then the function is switched on. What the owner had there (switch, curve in force, stored curve) is kept in
the journal before anything is written over it. A device takes seconds to adopt, so each step is a turn of its task, and
polls and commands go on between them. A device that holds already what is asked is not written to: so a server that
starts again looks, and tells nobody anything. Taking settings back goes the same way with what was kept; where
somebody else set another curve since, that is his, and stays. A refusal is final until other settings are asked for,
but for somebody's reversion timer, which ends.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from tieline.desk.inverter_facts import Kept, RefusedFor, Stands, Stood, Words
from tieline.errors import PeerError
from tieline.grid.inverter_settings import InverterSettings
from tieline.links.device.modbus.curves import FUNCTIONS, Curve, KeptCurves, encoded, points_of, runs_timer, wished
from tieline.links.device.modbus.unit import NO_BLOCKS, Rejected, Unit
from tieline.links.device.sunspec_models import definition, model
from tieline.wire.sunspec.curves import ACTIVE, COMPLETED, FAILED, Bank, bank_of
from tieline.wire.sunspec.models import ModelError, integer

LOOK_S, ADOPT_S, AGAIN_S = 1.0, 60.0, 600.0
"""A device that adopts is looked at so often, for so long; one that has adopted so often."""


class _Refused(Exception):
    def __init__(self, word: RefusedFor, why: str) -> None:
        super().__init__(why)
        self.word = word


@dataclass(frozen=True, slots=True)
class _Asked:
    """An adoption under way: what is to be in force, in which model's layout, and until when that is waited for (s)."""

    bank: Bank
    wish: dict[str, Words]
    is_giving_back: bool
    end_s: float


class Adopting:
    """The curves of one device."""

    def __init__(self, row: int, kept: KeptCurves) -> None:
        self._row, self._kept = row, kept
        self._wish: dict[int, Curve] = {}
        self._asked: dict[int, _Asked] = {}
        self._stood: dict[int, Stood] = {}
        self._is_told = False  # before that it is not known what is wished: nothing is given back
        self.due_s = math.inf

    def ask(self, settings: InverterSettings | None) -> bool:
        """Have it follow settings (None: what its owner had), and return whether that is other than before."""
        wish = wished(settings)
        if wish == self._wish and self._is_told:
            return False
        self._is_told = True
        for number in {number for number in FUNCTIONS if wish.get(number) != self._wish.get(number)}:
            self._asked.pop(number, None)
            self._stood.pop(number, None)
            if number in wish:
                self._note(number, Stands.ASKED)
        self._wish = wish
        if wish or self._kept.at(self._row):
            self.due_s = 0.0
        return True

    def found(self) -> None:
        """Take that it was found anew: what was under way is looked at again."""
        self._asked.clear()
        for number in self._kept.at(self._row).keys() - self._wish.keys():
            self._stood.pop(number, None)  # what could not be given back may be, now
        if self._is_told and (self._wish or self._kept.at(self._row)):
            self.due_s = 0.0

    @property
    def stood(self) -> tuple[Stood, ...]:
        """How its functions stand, by model; one that nobody asked for is not there."""
        return tuple(self._stood[number] for number in sorted(self._stood))

    async def act(self, unit: Unit) -> None:
        """Do what is due. Raises LinkDown where it doesn't answer: nothing is concluded from that."""
        loop = asyncio.get_running_loop()
        if loop.time() < self.due_s:
            return
        waits_s = [AGAIN_S] if self._wish else [math.inf]
        for number in FUNCTIONS:
            kept, curve = self._kept.at(self._row).get(number), self._wish.get(number)
            stood = self._stood.get(number)
            if (curve is None and kept is None) or (stood is not None and _is_final(stood)):
                continue
            try:
                waits_s.append(await self._step(unit, number, curve, kept))
            except _Refused as refused:
                self._refuse(number, refused.word, str(refused), curve is None)
            except Rejected as error:
                self._refuse(number, RefusedFor.READ_ONLY, str(error), curve is None)
            except (PeerError, ModelError) as error:
                self._refuse(number, RefusedFor.RANGE, str(error), curve is None)
        self.due_s = loop.time() + min(waits_s)

    def _refuse(self, number: int, word: RefusedFor, why: str, is_giving_back: bool) -> None:
        self._asked.pop(number, None)
        self._note(number, Stands.REFUSED, word, f"not given back: {why}" if is_giving_back else why)

    def _note(self, number: int, stands: Stands, word: RefusedFor = RefusedFor.NOTHING, why: str = "") -> None:
        self._stood[number] = Stood(FUNCTIONS[number], stands, word, why)

    async def _step(self, unit: Unit, number: int, curve: Curve | None, kept: Kept | None) -> float:
        """Go on with one function, and return when it is due again (s from now)."""
        if number not in unit.models:
            raise _Refused(RefusedFor.NO_MODEL, f"it has no SunSpec model {number}")
        if (asked := self._asked.get(number)) is not None:
            return await self._look(unit, number, asked)
        bank, registers = await self._read(unit, number)
        if curve is None:
            assert kept is not None
            return await self._give_back(unit, number, bank, registers, kept)
        if points_of(curve) > bank.points:
            given = f"{points_of(curve)} points: it stores {bank.points}"
            raise _Refused(RefusedFor.NO_ROOM, given)
        wish = encoded(bank, curve, registers)
        if bank.holds(ACTIVE, wish, registers) and _enabled(bank, registers):
            return self._adopted(number, kept, wish)
        if kept is not None and _is_anothers(bank, registers, kept):
            if kept.told == wish:
                self._note(number, Stands.DISPLACED, why="somebody else set another curve, or switched it off")
                return AGAIN_S
            kept = replace(_of_owner(bank, registers), slot=kept.slot, stored=kept.stored)
            self._keep(number, kept)
        if runs_timer(bank, registers):
            raise _Refused(RefusedFor.TIMER, f"a reversion timer of model {number} runs")
        if kept is None:
            kept = _of_owner(bank, registers)
            self._keep(number, kept)
        if not self._kept.is_kept(self._row, self._kept.at(self._row)):
            return LOOK_S  # the journal has to have it before anything is written over it
        await self._write(unit, number, bank, kept.slot, wish)
        return self._ask(number, bank, wish, is_giving_back=False)

    def _adopted(self, number: int, kept: Kept | None, wish: dict[str, Words]) -> float:
        if kept is not None and kept.told != wish:
            self._keep(number, replace(kept, told=wish))
        self._note(number, Stands.ADOPTED, why=_lacks(wish))
        return AGAIN_S

    def _ask(self, number: int, bank: Bank, wish: dict[str, Words], *, is_giving_back: bool) -> float:
        until_s = asyncio.get_running_loop().time() + ADOPT_S
        self._asked[number] = _Asked(bank, wish, is_giving_back, until_s)
        return LOOK_S

    async def _look(self, unit: Unit, number: int, asked: _Asked) -> float:
        """See whether an adoption has ended."""
        bank, registers = await self._read(unit, number)
        result = integer(bank.model.field(bank.result), registers)
        holds = bank.holds(ACTIVE, asked.wish, registers)
        if result == FAILED:
            raise _Refused(RefusedFor.FAILED, f"model {number}: {bank.result} FAILED")
        if not (result == COMPLETED and holds):
            if asyncio.get_running_loop().time() < asked.end_s:
                return LOOK_S
            if result == COMPLETED:
                raise _Refused(RefusedFor.OTHER, f"model {number}: {_differs(bank, asked.wish, registers)}")
            raise _Refused(RefusedFor.TIMEOUT, f"model {number}: {bank.result} {result} after {ADOPT_S:.0f} s")
        del self._asked[number]
        kept = self._kept.at(self._row)[number]
        if asked.is_giving_back:
            return await self._ended(unit, number, bank, registers, kept)
        if not _enabled(bank, registers):
            await self._put(unit, number, bank, "Ena", 1)
            bank, registers = await self._read(unit, number)
            if not _enabled(bank, registers):
                raise _Refused(RefusedFor.OTHER, f"model {number}: Ena stays {registers[_at(bank, 'Ena')]}")
        return self._adopted(number, kept, asked.wish)

    # --- what its owner had -------------------------------------------------------------------------------------------

    async def _give_back(self, unit: Unit, number: int, bank: Bank, registers: Words, kept: Kept) -> float:
        if kept.told and not bank.holds(ACTIVE, kept.told, registers):
            return await self._ended(unit, number, bank, registers, kept, is_ours=False)
        if bank.holds(ACTIVE, kept.active, registers):
            return await self._ended(unit, number, bank, registers, kept)
        await self._write(unit, number, bank, kept.slot, kept.active)
        return self._ask(number, bank, kept.active, is_giving_back=True)

    async def _ended(
        self, unit: Unit, number: int, bank: Bank, registers: Words, kept: Kept, *, is_ours: bool = True
    ) -> float:
        """Write back what stood beside the curve, and forget the device: it is its owner's."""
        why = "" if is_ours else "somebody else set another curve since, which stays"
        if is_ours and registers[_at(bank, "Ena")] != kept.enabled:
            await self._put(unit, number, bank, "Ena", kept.enabled)
        if not bank.holds(kept.slot, kept.stored, registers):
            await self._runs(unit, number, bank, kept.slot, kept.stored)
        left = {one: what for one, what in self._kept.at(self._row).items() if one != number}
        self._kept.keep_curves(self._row, left)
        self._note(number, Stands.GIVEN_BACK, why=why)
        return math.inf

    def _keep(self, number: int, kept: Kept) -> None:
        self._kept.keep_curves(self._row, self._kept.at(self._row) | {number: kept})

    # --- registers ----------------------------------------------------------------------------------------------------

    async def _read(self, unit: Unit, number: int) -> tuple[Bank, Words]:
        start, size = unit.models[number]
        registers = await unit.read(start, size)
        if size < model(number).size:
            raise ModelError(f"model {number} of {size} registers: {model(number).size} are asked for")
        return bank_of(definition(number), registers), registers

    async def _write(self, unit: Unit, number: int, bank: Bank, slot: int, wish: dict[str, Words]) -> None:
        """Lay a curve into its place, and ask for its adoption."""
        await self._runs(unit, number, bank, slot, wish)
        await self._put(unit, number, bank, bank.request, slot)

    async def _runs(self, unit: Unit, number: int, bank: Bank, slot: int, wish: dict[str, Words]) -> None:
        """Write points of a curve that is not in force: what lies side by side at once, or else each by itself."""
        start, _ = unit.models[number]
        for at, words in bank.runs(slot, wish) if unit.takes_blocks else ():
            try:
                await unit.write(start + at, words)
            except Rejected as error:
                if error.code not in NO_BLOCKS:
                    raise
                break
        else:
            if unit.takes_blocks:
                return
        for name, raw in wish.items():
            await unit.write(start + bank.model.field(bank.name(slot, name)).offset, raw)

    async def _put(self, unit: Unit, number: int, bank: Bank, name: str, value: int) -> None:
        start, _ = unit.models[number]
        await unit.write(start + _at(bank, name), (value,))


def _of_owner(bank: Bank, registers: Words) -> Kept:
    """Return what a function is before us. Raises _Refused where no curve may be written."""
    slots = [curve for curve in range(2, bank.curves + 1) if bank.is_writable(curve, registers)]
    if not slots:
        raise _Refused(RefusedFor.NO_SLOT, f"{bank.model.id}: none of its {bank.curves} curves may be written")
    slot = slots[-1]
    enabled = registers[_at(bank, "Ena")]
    return Kept(enabled, bank.contents(ACTIVE, registers), slot, bank.contents(slot, registers))


def _at(bank: Bank, name: str) -> int:
    return bank.model.field(name).offset


def _enabled(bank: Bank, registers: Sequence[int]) -> bool:
    return registers[_at(bank, "Ena")] == 1


def _is_anothers(bank: Bank, registers: Words, kept: Kept) -> bool:
    """Return whether what is in force is neither what we had adopted nor what was before us, as after a reboot."""
    is_ours = bank.holds(ACTIVE, kept.told, registers) and _enabled(bank, registers)
    is_owners = bank.holds(ACTIVE, kept.active, registers) and registers[_at(bank, "Ena")] == kept.enabled
    return bool(kept.told) and not is_ours and not is_owners


def _is_final(stood: Stood) -> bool:
    return stood.stands is Stands.DISPLACED or (stood.stands is Stands.REFUSED and stood.word is not RefusedFor.TIMER)


def _lacks(wish: dict[str, Words]) -> str:
    return "" if "RspTms" in wish else "its response time can't be set"


def _differs(bank: Bank, wish: dict[str, Words], registers: Words) -> str:
    other = [name for name, raw in wish.items() if bank.words(ACTIVE, name, registers) != raw]
    return f"{', '.join(other)} in force are others than asked"
