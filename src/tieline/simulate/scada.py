"""A utility's control room in small: a DNP3 master that polls, limits and cancels. Plays the DNO in simulations.

Built on the sans-I/O master of py1815 with a stream of its own, so that it runs on virtual time too. A limit is its
standing order: as a front end does, `attend` polls, dials anew where the line is gone, and gives an order again whose
echo (the mirrored enable switch) says that it is no longer in force.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from py1815.application import FunctionCode
from py1815.control import CommandStatus
from py1815.decode import DecodedObject
from py1815.master.association import Exchange, MasterAssociation, Outcome
from py1815.master.controls import Command, analog, binary, encode, read_statuses
from py1815.master.store import Store

from tieline.errors import LinkDown, PeerError

_CLASSES = bytes.fromhex("3c02063c03063c04063c0106")
_EVENT_CLASSES = bytes.fromhex("3c02063c03063c0406")
_CLEAR_RESTART = bytes.fromhex("500100070700")
_ENABLED = 11
"""Where a group shows whether its limit is enabled: BI of the binding's layout, after the group's `at`."""
Spawn = Callable[[Coroutine[Any, Any, Any]], object]


class Scada:
    """One master's connection to one outstation; `at` is where a group's points begin (the layout of the binding)."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        master: int,
        outstation: int,
        spawn: Spawn,
        tls: Any = None,
        timeout_s: float = 5.0,
        poll_s: float = 60.0,
    ) -> None:
        """Make a master; `poll_s` is how long `attend` lets a quiet line be (s of the loop)."""
        self.store = Store()
        self.unsolicited = 0
        self.controls = self.accepted = 0
        self.delays_s: list[float] = []
        self.sent: list[bytes] = []
        self.orders: dict[int, tuple[float, float]] = {}
        """Limits that stand by this master's will, by where their group begins: from and to (W)."""
        self.renewed = 0
        self._poll_s = poll_s
        self._where, self._tls, self._spawn, self._timeout_s = (host, port), tls, spawn, timeout_s
        self._addresses = master, outstation
        self._turn, self._dials, self._lost = asyncio.Lock(), asyncio.Lock(), asyncio.Event()
        self._progress = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        """Connect, clear the restart, poll all, and switch unsolicited reports on. Raises OSError or LinkDown."""
        if self._writer is not None:
            self._writer.close()  # a half-open line would stay for ever
        master, outstation = self._addresses
        self._association = MasterAssociation(
            outstation_address=outstation,
            master_address=master,
            response_timeout=self._timeout_s,
            clock=asyncio.get_running_loop().time,
        )
        how = {"ssl": self._tls} if self._tls is not None else {}
        reader, self._writer = await asyncio.open_connection(*self._where, **how)
        self._lost.clear()
        self._spawn(self._receive(reader, self._writer, self._association))
        await self.request(FunctionCode.WRITE, _CLEAR_RESTART)
        await self.poll()
        await self.request(FunctionCode.ENABLE_UNSOLICITED, _EVENT_CLASSES)

    async def reach(self) -> None:
        """Poll the outstation, and dial anew where it does not answer.

        Raises:
            LinkDown: Nobody answers, even so.
        """
        line = self._writer
        try:
            await self.poll()
        except LinkDown:
            await self._dial(line)

    async def attend(self) -> None:
        """Keep the line and the standing orders, for as long as the line lives.

        Raises:
            LinkDown: The line is gone; who calls again has it dialled anew.
        """
        if self._writer is None or self._writer.is_closing():
            await self._dial(self._writer)
        while True:
            await self._renew()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._lost.wait()
            line = self._writer
            try:
                await self.request(FunctionCode.READ, _EVENT_CLASSES)
            except LinkDown:
                if line is self._writer and line is not None:
                    line.close()
                raise

    async def poll(self) -> None:
        """Read all classes: events first, then every static point, into the store."""
        await self.request(FunctionCode.READ, _CLASSES)

    async def limit(self, at: int, low_w: float, high_w: float, *, select: bool = False) -> list[CommandStatus]:
        """Hold a group between two powers (W), until it is cancelled; returns the status of each control."""
        statuses = await self.operate(
            [analog(at + 1, low_w, 1), analog(at + 2, high_w, 1), binary(at + 1, True)], select=select
        )
        if all(status is CommandStatus.SUCCESS for status in statuses):
            self.orders[at] = low_w, high_w
        return statuses

    async def target(self, at: int, power_w: float, *, select: bool = False) -> list[CommandStatus]:
        """Ask a group for a power (W); returns the status of each control."""
        return await self.operate([analog(at, power_w, 1), binary(at, True)], select=select)

    async def cancel(self, at: int) -> list[CommandStatus]:
        """Withdraw what was asked of a group; returns the status of the control."""
        self.orders.pop(at, None)
        return await self.operate([binary(at + 2, True)])

    async def operate(self, controls: list[Command], *, select: bool = False) -> list[CommandStatus]:
        """Operate controls directly, or select them first and operate only where all were selected.

        Both are one turn: any other request between them would take the select back (IEEE 1815-2012, 4.4.4).
        """
        async with self._turn:
            if select:
                selected = await self._command(FunctionCode.SELECT, controls)
                if any(status is not CommandStatus.SUCCESS for status in selected):
                    return selected
            return await self._command(FunctionCode.OPERATE if select else FunctionCode.DIRECT_OPERATE, controls)

    async def command(self, function: FunctionCode, controls: list[Command]) -> list[CommandStatus]:
        """Send one control request as it is and return the outstation's status for each control.

        Raises:
            PeerError: The outstation's echo is not the request's.
        """
        async with self._turn:
            return await self._command(function, controls)

    async def _command(self, function: FunctionCode, controls: list[Command]) -> list[CommandStatus]:
        """Send one control request in the turn that its caller has."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        exchange = await self._request(function, encode(controls))
        if function is not FunctionCode.SELECT:
            self.controls += 1
            self.delays_s.append(loop.time() - began_s)
        if exchange.outcome is Outcome.SENT:
            return [CommandStatus.UNDEFINED] * len(controls)
        statuses = [point.status for point in read_statuses(controls, exchange)]
        if any(status is None for status in statuses):
            raise PeerError(f"{function.name}: the outstation echoed other controls than it was sent")
        good = all(status is CommandStatus.SUCCESS for status in statuses)
        self.accepted += good and function is not FunctionCode.SELECT
        return [status for status in statuses if status is not None]

    def analog(self, index: int) -> float | None:
        """Return the last value of an analog input in counts, or None."""
        seen = self.store.analog_input(index)
        return None if seen is None or seen.value is None else float(seen.value)

    def binary(self, index: int) -> bool | None:
        """Return the last state of a binary input, or None."""
        seen = self.store.binary_input(index)
        return None if seen is None else bool(seen.value)

    async def request(self, function: FunctionCode, body: bytes = b"") -> Exchange:
        """Make one exchange.

        Raises:
            LinkDown: No connection, or no whole answer in time. A control is never sent again by itself.
        """
        async with self._turn:
            return await self._request(function, body)

    async def _request(self, function: FunctionCode, body: bytes) -> Exchange:
        """Make one exchange in the turn that its caller has."""
        if self._writer is None or self._writer.is_closing():
            raise LinkDown("not connected to the outstation")
        # Of this line to the end: another may be dialled meanwhile.
        writer, association = self._writer, self._association
        octets = association.request(function, body)
        self.sent.append(octets)
        writer.write(octets)
        exchange = await self._finish(writer, association)
        if exchange.outcome not in (Outcome.COMPLETE, Outcome.SENT):
            raise LinkDown(f"{function.name}: {exchange.outcome.name.lower()}")
        return exchange

    async def replay(self, octets: bytes) -> None:
        """Send octets again as they were, as a duplicating network would."""
        if self._writer is not None:
            self._writer.write(octets)
            await self._writer.drain()

    async def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()

    async def _dial(self, line: asyncio.StreamWriter | None) -> None:
        """Connect, unless somebody else has replaced this line already. Raises LinkDown."""
        async with self._dials:
            if self._writer is not line and self._writer is not None and not self._writer.is_closing():
                return
            try:
                await self.connect()
            except OSError as error:
                raise LinkDown(f"the outstation does not answer: {error}") from error

    async def _renew(self) -> None:
        """Give each standing order again that is in force no more by its own echo: its lease ran out meanwhile."""
        if any(self.binary(at + _ENABLED) is False for at in self.orders):
            await self.poll()  # an echo may be older than the order
        for at, (low_w, high_w) in list(self.orders.items()):
            if self.binary(at + _ENABLED) is False and self.orders.get(at) == (low_w, high_w):
                self.renewed += 1
                await self.limit(at, low_w, high_w, select=True)

    async def _finish(self, writer: asyncio.StreamWriter, association: MasterAssociation) -> Exchange:
        while (exchange := association.take()) is None:
            self._progress.clear()
            wait_s = association.expires_after()
            try:
                async with asyncio.timeout(wait_s if wait_s is None else max(wait_s, 0.001)):
                    await self._progress.wait()
            except TimeoutError:
                if again := association.retry():
                    writer.write(again)
                else:
                    association.expire()
        self._take(exchange.objects)
        return exchange

    async def _receive(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, association: MasterAssociation
    ) -> None:
        try:
            while data := await reader.read(4096):
                if answer := association.receive(data):
                    writer.write(answer)
                for unsolicited in association.take_unsolicited():
                    self.unsolicited += 1
                    self._take(unsolicited.objects)
                self._progress.set()
        except OSError:
            pass
        finally:
            writer.close()
            association.abandon()
            self._progress.set()
            if writer is self._writer:
                self._lost.set()

    def _take(self, objects: Sequence[DecodedObject]) -> None:
        self.store.apply(objects, now=asyncio.get_running_loop().time())
