"""Feeders from CIM: one by hand, and those that OpenDSS exports, whose voltages OpenDSS says too."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from phase_feeders import ieee

from tieline.errors import ConfigError
from tieline.grid.phaseflow import PhaseFlow
from tieline.grid.read_cim import read_cim
from tieline.grid.read_opendss import read_opendss

PEERS = Path(os.environ.get("TIELINE_PEERS_GRID", Path(__file__).parents[2] / ".venv-peers-grid"))
HEAD = '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:cim="http://iec.ch/TC57/CIM100#">'
EXPORT = """
import sys, dss
engine = dss.DSS
for line in open(sys.argv[1]):
    engine.Text.Command = line.strip()
engine.Text.Command = "solve"
engine.Text.Command = f"export cim100 file={sys.argv[2]} substation=s subGeographicRegion=g geographicRegion=r"
"""


def thing(kind: str, at: str, refers: dict | None = None, **values: object) -> str:
    lines = [f"<cim:IdentifiedObject.name>{at}</cim:IdentifiedObject.name>"]
    lines += [f"<cim:{key.replace('__', '.')}>{value}</cim:{key.replace('__', '.')}>" for key, value in values.items()]
    lines += [f'<cim:{key} rdf:resource="{value}"/>' for key, value in (refers or {}).items()]
    return f'<cim:{kind} rdf:about="urn:uuid:{at}">{"".join(lines)}</cim:{kind}>'


def terminal(at: str, equipment: str, node: str, number: int = 1) -> str:
    refers = {"Terminal.ConductingEquipment": f"urn:uuid:{equipment}", "Terminal.ConnectivityNode": f"urn:uuid:{node}"}
    return thing("Terminal", at, refers, ACDCTerminal__sequenceNumber=number)


def end(at: str, number: int, volts: float, winding: str, clock: int, grounded: str, base: str) -> str:
    refers = {
        "PowerTransformerEnd.PowerTransformer": "urn:uuid:t", "TransformerEnd.Terminal": f"urn:uuid:t{number}",
        "PowerTransformerEnd.connectionKind": f"http://iec.ch/TC57/CIM100#WindingConnection.{winding}",
        "TransformerEnd.BaseVoltage": f"urn:uuid:{base}",
    }  # fmt: skip
    r, x = (0.01 * volts**2 / 250e3, 0.04 * volts**2 / 250e3) if number == 1 else (0.0, 0.0)
    return thing(
        "PowerTransformerEnd", at, refers, PowerTransformerEnd__ratedS=250e3, PowerTransformerEnd__ratedU=volts,
        PowerTransformerEnd__r=r, PowerTransformerEnd__x=x, PowerTransformerEnd__phaseAngleClock=clock,
        TransformerEnd__endNumber=number, TransformerEnd__grounded=grounded,
    )  # fmt: skip


PARTS = [
    *(thing("ConnectivityNode", node) for node in ("top", "low", "far")),
    thing("BaseVoltage", "mv", BaseVoltage__nominalVoltage=10_000), thing("BaseVoltage", "lv", BaseVoltage__nominalVoltage=400),
    thing("EnergySource", "s", {"ConductingEquipment.BaseVoltage": "urn:uuid:mv"}, EnergySource__voltageMagnitude=10_200,
          EnergySource__voltageAngle=0, EnergySource__r=0.1, EnergySource__x=1, EnergySource__r0=0.1, EnergySource__x0=1),
    terminal("s1", "s", "top"), thing("PowerTransformer", "t"), terminal("t1", "t", "top"), terminal("t2", "t", "low", 2),
    end("e1", 1, 10_000, "D", 0, "false", "mv"), end("e2", 2, 400, "Y", 1, "true", "lv"),
    thing("ACLineSegment", "line", {"ConductingEquipment.BaseVoltage": "urn:uuid:lv"}, ACLineSegment__r=0.064,
          ACLineSegment__x=0.016, ACLineSegment__r0=0.22, ACLineSegment__x0=0.06, Conductor__length=200),
    terminal("l1", "line", "low"), terminal("l2", "line", "far", 2),
    thing("EnergyConsumer", "home", {"ConductingEquipment.BaseVoltage": "urn:uuid:lv"}, EnergyConsumer__p=9_000,
          EnergyConsumer__q=2_000), terminal("h1", "home", "far"),
    thing("EnergyConsumerPhase", "hb", {"EnergyConsumerPhase.EnergyConsumer": "urn:uuid:home",
          "EnergyConsumerPhase.phase": "http://iec.ch/TC57/CIM100#SinglePhaseKind.B"}, EnergyConsumerPhase__p=9_000,
          EnergyConsumerPhase__q=2_000),
]  # fmt: skip
SAME = """
Set DefaultBaseFrequency=50
New Circuit.c basekv=10 pu=1.02 bus1=top r1=0.1 x1=1 r0=0.1 x0=1
New Transformer.t buses=[top low] conns=[delta wye] kvs=[10 0.4] kvas=[250 250] %loadloss=1 xhl=4 ppm_antifloat=0
New Line.line bus1=low bus2=far r1=0.064 x1=0.016 r0=0.22 x0=0.06 c1=0 c0=0 length=1
New Load.home bus1=far.2 phases=1 kv=0.2309401 kw=9 kvar=2
"""


def model(parts: list[str]) -> str:
    return HEAD + "".join(parts) + "</rdf:RDF>"


def test_a_feeder_in_cim_is_the_same_feeder_as_in_a_script() -> None:
    cim, script = read_cim(model(PARTS), "cim"), read_opendss(SAME, "script")
    one, two = (PhaseFlow(feeder, np.arange(3, dtype=np.int32)).solve() for feeder in (cim, script))
    order = [cim.bus_name.index(name) for name in script.bus_name]
    assert one.watched_pu[0][order] == pytest.approx(two.watched_pu[0], abs=1e-8)


@pytest.mark.interop
@pytest.mark.skipif(not (PEERS / ".two").exists(), reason="no OpenDSS: run `make peers-grid`")
@pytest.mark.parametrize(("name", "off_pu"), [("ieee13", 1e-4), ("ieee123", 1e-4)])
def test_what_opendss_exports_as_cim_is_the_feeder_of_its_script(tmp_path: Path, name: str, off_pu: float) -> None:
    """CIM does not say at which voltage a load has its power where that is not its bus's (2.4 kV of 2.402): 1e-4 pu.

    Controls are not in these scripts, so that OpenDSS exports no taps: both stand at their neutral steps.
    """
    text = "\n".join(line for line in ieee(name)[0].splitlines() if ".Taps=" not in line)
    (tmp_path / "f.dss").write_text(text)
    command = [str(PEERS / "bin" / "python"), "-c", EXPORT, str(tmp_path / "f.dss"), str(tmp_path / "f.xml")]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    feeders = read_cim((tmp_path / "f.xml").read_text(), name, 60.0), read_opendss(text, name)
    volts = []
    for feeder in feeders:
        pu = (
            PhaseFlow(feeder, np.arange(len(feeder.bus_v), dtype=np.int32)).solve().watched_pu[0]
            * feeder.bus_v[:, None]
        )
        volts.append(
            {
                (bus, p): pu[i, p] / feeder.bus_v[i]
                for i, bus in enumerate(feeder.bus_name)
                for p in range(3)
                if feeder.bus_has[i, p]
            }
        )
    assert volts[0].keys() == volts[1].keys()
    assert max(abs(volts[0][at] - volts[1][at]) for at in volts[0]) < off_pu


def test_a_tap_changer_moves_its_end() -> None:
    tap = thing("RatioTapChanger", "tap", {"RatioTapChanger.TransformerEnd": "urn:uuid:e2"}, TapChanger__step=4,
                TapChanger__neutralStep=0, RatioTapChanger__stepVoltageIncrement=0.625)  # fmt: skip
    plain, raised = (PhaseFlow(read_cim(model(parts), "t")).solve().load_pu[0, 0] for parts in (PARTS, [*PARTS, tap]))
    assert raised / plain == pytest.approx(1.025, abs=2e-3)


def test_an_open_switch_is_no_way_and_a_closed_one_is() -> None:
    def with_switch(is_open: str) -> str:
        swapped = [part.replace('about="urn:uuid:l2"', 'about="urn:uuid:l2"').replace("urn:uuid:far", "urn:uuid:mid")
                   if 'about="urn:uuid:l2"' in part else part for part in PARTS]  # fmt: skip
        switch = thing("Breaker", "sw", {"ConductingEquipment.BaseVoltage": "urn:uuid:lv"}, Switch__open=is_open)
        return model(
            [
                *swapped,
                thing("ConnectivityNode", "mid"),
                switch,
                terminal("w1", "sw", "mid"),
                terminal("w2", "sw", "far", 2),
            ]
        )

    closed = PhaseFlow(read_cim(with_switch("false"), "s")).solve().load_pu
    assert closed == pytest.approx(PhaseFlow(read_cim(model(PARTS), "s")).solve().load_pu, abs=1e-6)
    with pytest.raises(ConfigError, match="feeder s: 1 of 4 buses have a phase without a closed way to the source"):
        read_cim(with_switch("true"), "s")


def without(at: str) -> list[str]:
    return [part for part in PARTS if f'about="urn:uuid:{at}"' not in part]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no xml", "feeder f: .*no CIM in RDF/XML"),
        ("<a/>", "its root is 'a': give CIM in RDF/XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "no CIM in RDF/XML"),
        (model([]), "0 EnergySources: give one"),
        (model(without("home")), "no loads and no plants"),
        (model(without("l2")), "ACLineSegment line has 1 terminals: give 2"),
        (model([*PARTS, thing("SynchronousMachine", "g")]), r"class SynchronousMachine \(g\) is not read"),
        (
            model(PARTS).replace("<cim:ACLineSegment.r>0.064", "<cim:ACLineSegment.r>many"),
            "ACLineSegment line: ACLineSegment.r is 'many'",
        ),
        (
            model(PARTS).replace("<cim:ACLineSegment.r0>0.22</cim:ACLineSegment.r0>", ""),
            "ACLineSegment line: ACLineSegment.r0 is None",
        ),
        (model(PARTS).replace("WindingConnection.D", "WindingConnection.Z"), "connectionKind 'Z': give D, Y or Yn"),
        (model(PARTS).replace("SinglePhaseKind.B", "SinglePhaseKind.s1"), "has phase 's1': give A, B or C"),
        (
            model(PARTS).replace("nominalVoltage>400<", "nominalVoltage>0.4<"),
            r"bus low: rated voltage is 0.23\d* V|transformer t is rated",
        ),
    ],
)
def test_cim_that_is_no_feeder_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_cim(text, "f")
