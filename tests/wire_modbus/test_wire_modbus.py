"""Modbus and SunSpec codecs: cuts change nothing, limits are kept, garbage gets the declared error."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.links.device.sunspec_models import model
from tieline.wire.modbus.frames import Frame, FrameError, FrameReader
from tieline.wire.modbus.pdu import PduError, Read, Refused, Write, answer_read, read_answer, read_request
from tieline.wire.sunspec.models import ModelError, build, parse_model, read_value, write_value

FRAMES = st.builds(Frame, st.integers(0, 65535), st.integers(0, 255), st.binary(min_size=1, max_size=253))


@given(st.lists(FRAMES, max_size=8), st.data())
def test_frames_do_not_depend_on_how_the_bytes_were_cut(frames: list, data: st.DataObject) -> None:
    octets = b"".join(frame.octets() for frame in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=10)))
    reader, found = FrameReader(), []
    for begin, end in zip([0, *cuts], [*cuts, len(octets)], strict=True):
        found += reader.feed(octets[begin:end])
    assert found == frames


@given(st.binary(max_size=300))
def test_any_bytes_make_frames_or_the_declared_error(octets: bytes) -> None:
    try:
        FrameReader().feed(octets)
    except FrameError:
        pass


@given(st.binary(max_size=260))
def test_any_pdu_is_a_request_or_the_declared_error_with_its_code(pdu: bytes) -> None:
    try:
        request = read_request(pdu)
        assert isinstance(request, (Read, Write))
    except PduError as error:
        assert error.code in (1, 2, 3)


def test_golden_frames_of_the_specification() -> None:
    """Modbus Application Protocol V1.1b3, 6.3: read holding registers 108 to 110; answer 0x022B, 0, 0x64."""
    assert Read(107, 3).octets().hex() == "03006b0003"
    assert read_answer(Read(107, 3), bytes.fromhex("0306022b00000064")) == (0x022B, 0, 0x64)
    """6.12: write 0x000A and 0x0102 to registers 2 and 3."""
    assert Write(1, (0x000A, 0x0102)).octets().hex() == "100001000204000a0102"
    assert read_answer(Write(1, (0x000A, 0x0102)), bytes.fromhex("1000010002")) == ()
    assert read_answer(Read(0, 1), bytes.fromhex("8302")) == Refused(3, 2)


def test_more_than_125_registers_are_not_asked_for_and_more_than_123_not_written() -> None:
    for bad in (Read(0, 126), Read(65535, 2), Read(0, 0), Write(0, (0,) * 124), Write(0, ())):
        with pytest.raises(PduError):
            bad.octets()
    assert len(answer_read(Read(0, 125), (0,) * 125)) == 252


def test_model_701_lies_as_sunspec_says() -> None:
    """SunSpec DER Information Model V1.0, model 701: length 153 behind ID and L; W is int16, Hz uint32."""
    measure = model(701)
    assert (measure.size, measure.field("W").size, measure.field("Hz").size) == (155, 1, 2)


def theirs(number: int, registers: list[int]) -> dict:
    """What pysunspec2's own decoder reads from the registers of a model, by point."""
    from sunspec2.modbus.client import SunSpecModbusClientModel

    raw = struct.pack(f">{len(registers)}H", *registers)
    found = SunSpecModbusClientModel(number, 0, len(registers) - 2, data=raw)
    return {name: point.cvalue for name, point in found.points.items()}


@pytest.mark.parametrize("number", [1, 701, 702, 703, 704, 713])
@given(seed=st.integers(0, 2**32 - 1))
def test_every_fixed_point_reads_as_the_reference_decoder_reads_it(number: int, seed: int) -> None:
    """Random registers below valid scale factors, decoded by pysunspec2 and by us."""
    rng, shape = np.random.default_rng(seed), model(number)
    registers = rng.integers(0, 65_536, shape.size).tolist()
    registers[0], registers[1] = number, shape.size - 2
    for name, field in shape.fields.items():
        if field.kind == "sunssf":
            registers[field.offset] = int(rng.integers(-4, 5)) & 0xFFFF
        if field.kind == "string":
            registers[field.offset : field.offset + field.size] = [0x4142] * field.size
        assert name
    read = theirs(number, registers)
    for name, field in shape.fields.items():
        if field.kind == "pad" or "." in name:
            continue
        ours = read_value(shape, name, registers)
        expected = read[name]
        if isinstance(ours, str) or expected is None or ours is None:
            assert (ours or None) == expected, (name, field)
        else:
            assert ours == pytest.approx(expected, rel=1e-12), (name, field)


@given(st.sampled_from([1, 701, 702, 703, 704, 713]), st.lists(st.integers(0, 65_535), max_size=200))
def test_any_registers_are_values_or_the_declared_error(number: int, registers: list) -> None:
    shape = model(number)
    for name in shape.fields:
        try:
            value = read_value(shape, name, registers)
            assert value is None or isinstance(value, str) or math.isfinite(value)
        except ModelError as error:
            assert str(error)


@given(st.floats(-30_000, 30_000), st.integers(-2, 1))
def test_a_value_survives_its_registers_within_its_scale(watts: float, exponent: int) -> None:
    controls = model(704)
    registers = build(controls, {"WSet_SF": exponent, "WSet": watts})
    assert read_value(controls, "WSet", registers) == pytest.approx(watts, abs=0.51 * 10.0**exponent)


def test_what_is_not_implemented_reads_as_none_and_what_does_not_fit_is_refused() -> None:
    measure = model(701)
    registers = build(measure, {"W_SF": 0})
    assert read_value(measure, "W", registers) is None
    with pytest.raises(ModelError, match="give -32767 to 32767"):
        write_value(measure, "W", 1e6, registers)
    with pytest.raises(ModelError, match="finite"):
        write_value(measure, "W", math.nan, registers)
    with pytest.raises(ModelError, match="no point"):
        read_value(measure, "Nothing", registers)
    with pytest.raises(ModelError):
        parse_model("{}")
