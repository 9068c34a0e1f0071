"""Curves in the registers of models 705, 706 and 711, against the SunSpec reference library and a pymodbus server."""

import asyncio
import math
import struct
from typing import Any

import numpy as np
import pytest
from curves_room import ALL, DROOP, ROW, VAR, WATT
from hypothesis import given, settings
from hypothesis import strategies as st
from modbus_room import MODELS, Battery, Log

from tieline.desk.inverter_facts import Stands
from tieline.grid.inverter_settings import Droop, VoltVar, VoltWatt
from tieline.links.device.modbus.curves import encoded
from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
from tieline.links.device.sunspec_models import definition
from tieline.rim.clock import SystemClock
from tieline.rim.supervise import Supervisor
from tieline.simulate.sunspec_curves import StoredCurves
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer
from tieline.wire.sunspec.curves import bank_of

pytestmark = pytest.mark.interop
CLOCK = SystemClock()


def _reference(number: int, registers: list[int]) -> Any:
    """Return the reference library's view of a model's registers."""
    import sunspec2.device as sunspec_device

    data = struct.pack(f">{len(registers)}H", *registers)
    return sunspec_device.Model(model_id=number, data=data, model_len=len(registers) - 2)


def _laid(stored: StoredCurves, curve: VoltVar | VoltWatt | Droop, slot: int = 2) -> Any:
    """Return what the reference library reads of a curve that our codec laid into a slot."""
    head = tuple(stored.registers)
    bank = bank_of(definition(stored.number), head)
    for at, words in bank.runs(slot, encoded(bank, curve, head)):
        stored.registers[at : at + len(words)] = words
    model = _reference(stored.number, stored.registers)
    return (model.Ctl if stored.number == 711 else model.Crv)[slot - 1]


volts = st.lists(st.floats(0.82, 1.18), min_size=4, max_size=4).map(sorted)
shares = st.lists(st.floats(-1.0, 1.0), min_size=4, max_size=4).map(lambda each: sorted(each, reverse=True))
times = st.floats(0.2, 90.0)


@settings(deadline=None, max_examples=30)
@given(volts, shares, times, st.integers(1, 5), st.integers(4, 12), st.integers(-2, 0), st.integers(-2, 0))
def test_the_reference_library_reads_the_volt_var_curve_that_was_laid_down(
    pu: list[float], var: list[float], response_s: float, curves: int, points: int, v_sf: int, var_sf: int
) -> None:
    stored = StoredCurves(705, definition(705), CLOCK, curves=curves + 1, points=points)
    for name, exponent in (("V_SF", v_sf), ("DeptRef_SF", var_sf)):
        stored.registers[stored.bank.model.field(name).offset] = exponent & 0xFFFF
    read = _laid(stored, VoltVar(tuple(pu), tuple(var), response_s), curves + 1)
    assert (read.ActPt.cvalue, read.DeptRef.cvalue, read.VRefAutoEna.cvalue) == (4, 3, 0)
    assert read.RspTms.cvalue == pytest.approx(response_s, abs=0.0501)
    for point, volt, share in zip(read.Pt[:4], pu, var, strict=True):
        assert point.V.cvalue == pytest.approx(100 * volt, abs=0.501 * 10**v_sf)
        assert point.Var.cvalue == pytest.approx(100 * share, abs=0.501 * 10**var_sf)


@settings(deadline=None, max_examples=30)
@given(st.floats(1.05, 1.08), st.floats(-1.0, 1.0), st.floats(0.017, 1.0), st.floats(0.02, 0.05), times)
def test_the_reference_library_reads_the_volt_watt_curve_and_the_droop_that_were_laid_down(
    volt: float, watt: float, band_hz: float, share: float, response_s: float
) -> None:
    curve = VoltWatt((volt, volt + 0.02), (1.0, watt), response_s)
    read = _laid(StoredCurves(706, definition(706), CLOCK), curve)
    assert [point.V.cvalue for point in read.Pt[:2]] == pytest.approx([100 * volt, 100 * volt + 2], abs=0.0051)
    assert [point.W.cvalue for point in read.Pt[:2]] == pytest.approx([100.0, 100 * watt], abs=0.0051)
    read = _laid(StoredCurves(711, definition(711), CLOCK), Droop(band_hz, 0.036, share, 0.05, response_s))
    found = [read.DbOf.cvalue, read.DbUf.cvalue, read.KOf.cvalue, read.KUf.cvalue]
    assert found == pytest.approx([band_hz, 0.036, share, 0.05], abs=0.000501)
    assert read.RspTms.cvalue == pytest.approx(response_s, abs=0.0501)


async def _linked(port: int, seconds: float, until: Any) -> tuple[ModbusLink, Log]:
    """Have a link ask the device at a port for all three functions, until it stands so."""
    log = Log()
    async with Supervisor(np.random.default_rng(1)) as supervisor:
        how = ModbusSettings({ROW: f"127.0.0.1:{port}/1"}, {ROW: 5_000.0}, poll_s=0.2)
        link = ModbusLink(how, log, CLOCK, supervisor, np.random.default_rng(2))
        link.start()
        link.adjust({ROW: ALL})
        async with asyncio.timeout(seconds):
            while not until(link):  # noqa: ASYNC110  it polls a device
                await asyncio.sleep(0.05)
    return link, log


def _all(link: ModbusLink, stands: Stands) -> bool:
    stood = link.adjusted().get(ROW, ())
    return len(stood) == 3 and all(one.stands is stands for one in stood)


def test_the_reference_client_reads_from_our_device_what_the_link_had_it_adopt() -> None:
    import sunspec2.modbus.client as sunspec_client

    async def main() -> list[Any]:
        curves = {n: StoredCurves(n, definition(n), CLOCK, adopt_s=0.1) for n in (705, 706, 711)}
        device = SunSpecDevice(Battery(CLOCK, target_w=1.0, until_ns=2**62), 5_000.0, 0.0, MODELS, CLOCK, curves=curves)
        server = SunSpecServer({1: device})
        await server.start()
        await _linked(server.port, 20.0, lambda link: _all(link, Stands.ADOPTED))

        def scan() -> list[Any]:
            peer = sunspec_client.SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr="127.0.0.1", ipport=server.port)
            peer.scan()
            found = [peer.models[number][0].get_dict(computed=True) for number in (705, 706, 711)]
            peer.close()
            return found

        read = await asyncio.get_running_loop().run_in_executor(None, scan)
        server.stop()
        return read

    var, watt, droop = asyncio.run(main())
    assert (var["Ena"], watt["Ena"], droop["Ena"]) == (1, 1, 1)
    pairs = [(point["V"], point["Var"]) for point in var["Crv"][0]["Pt"]]
    assert pairs == [pytest.approx((100 * v, 100 * q)) for v, q in zip(VAR.volt_pu, VAR.var_frac, strict=True)]
    pairs = [(point["V"], point["W"]) for point in watt["Crv"][0]["Pt"][:2]]
    assert pairs == [pytest.approx((100 * v, 100 * w)) for v, w in zip(WATT.volt_pu, WATT.watt_frac, strict=True)]
    assert droop["Ctl"][0]["KOf"] == pytest.approx(DROOP.over_frac)
    assert [crv["ReadOnly"] for crv in var["Crv"]] == [1, 0, 0]


def _served_by_others(adopts: bool) -> tuple[dict[int, list[int]], Any]:
    """Run a link against a pymodbus server whose registers and adoption are the reference library's."""
    from pymodbus.server import ModbusTcpServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    curves = {n: StoredCurves(n, definition(n), CLOCK, curves=2) for n in (705, 706, 711)}
    device = SunSpecDevice(Battery(CLOCK, target_w=1.0, until_ns=2**62), 5_000.0, 0.0, MODELS, CLOCK, curves=curves)
    image = [*device.read(0, 2 + sum(len(words) for words in device.registers.values()) + 2)]
    starts, at = dict[int, int](), 40_002
    for number in sorted(device.registers):
        starts[number] = at
        at += len(device.registers[number])

    image = [0] * 40_000 + image + [0] * 200
    kept: list[list[int]] = []

    async def adopt(function: int, first: int, address: int, count: int, held: list[int], written: Any) -> None:
        """Adopt what is asked for, as the reference library reads and writes the registers."""
        kept[:] = [held]
        for number, start in starts.items():
            if written is None or number not in curves or address != start + 3:  # ID, L, Ena, then the request
                continue
            at, size = start - first, len(curves[number].registers)
            model = _reference(number, held[at : at + size])
            group = model.Ctl if number == 711 else model.Crv
            if adopts:
                group[0].set_dict(group[written[0] - 1].get_dict() | {"ReadOnly": 1})
            (model.AdptCtlRslt if number == 711 else model.AdptCrvRslt).cvalue = 1 if adopts else 2
            held[at : at + size] = struct.unpack(f">{size}H", model.get_mb())

    async def main() -> Any:
        data = SimData(0, values=image, datatype=DataType.REGISTERS)
        server = ModbusTcpServer(SimDevice(1, simdata=data, action=adopt), address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        port = server.transport.sockets[0].getsockname()[1]
        stands = Stands.ADOPTED if adopts else Stands.REFUSED
        link, _ = await _linked(port, 20.0, lambda link: _all(link, stands))
        await server.shutdown()
        return link.adjusted()[ROW]

    stood = asyncio.run(main())
    return {n: kept[0][starts[n] :][: len(curves[n].registers)] for n in curves}, stood


def test_a_pymodbus_server_whose_curves_are_the_reference_librarys_adopts_all_three() -> None:
    registers, _ = _served_by_others(adopts=True)
    var, watt, droop = (_reference(number, registers[number]) for number in (705, 706, 711))
    assert (var.Ena.cvalue, watt.Ena.cvalue, droop.Ena.cvalue) == (1, 1, 1)
    assert [point.Var.cvalue for point in var.Crv[0].Pt] == pytest.approx([30, 0, 0, -40])
    assert [point.W.cvalue for point in watt.Crv[0].Pt[:2]] == pytest.approx([100, 20])
    assert math.isclose(droop.Ctl[0].DbUf.cvalue, 0.1)


def test_a_pymodbus_server_that_adopts_nothing_is_refused_and_never_switched_on() -> None:
    registers, stood = _served_by_others(adopts=False)
    assert {one.word for one in stood} == {"adoption failed"}
    assert [_reference(number, words).Ena.cvalue for number, words in registers.items()] == [0, 0, 0]
