"""Feeders from files: each format gives the same feeder, and what is no feeder is refused by field, value and limit."""

import json
from importlib.resources import files

import numpy as np
import pytest
from phase_feeders import ieee, random_pgm, text_of

from tieline.errors import ConfigError
from tieline.grid.dss_script import number, triangle
from tieline.grid.feeder import read_simbench
from tieline.grid.phaseflow import PhaseFlow
from tieline.grid.powerflow import FeederFlow
from tieline.grid.read_opendss import read_opendss
from tieline.grid.read_pandapower import read_pandapower
from tieline.grid.read_pgm import read_pgm
from tieline.grid.samples import european_lv


def simbench(name: str) -> str:
    return (files("tieline.simulate") / "data" / "feeder" / f"{name}.json").read_text()


SMALL = """
Clear
Set DefaultBaseFrequency=50
New Circuit.small basekv=10 bus1=top r1=0.1 x1=1 r0=0.1 x0=1
New Transformer.t buses=[top low] conns=[delta wye] kvs=[10 0.4] kvas=[250 250] %loadloss=1 xhl=4
New Linecode.al nphases=3 r1=0.32 x1=0.08 r0=1.1 x0=0.3 c1=0 c0=0 units=km normamps=250
New Line.one bus1=low bus2=end linecode=al length=200 units=m
New Load.home bus1=end.2 phases=1 kv=0.23 kw=3 pf=0.95
"""


@pytest.mark.parametrize("name", ["1-lv-rural1", "1-lv-urban6", "1-mv-semiurb"])
def test_a_simbench_feeder_has_the_voltages_of_the_balanced_flow(name: str) -> None:
    """Loads are even in their phases, so zero sequence must not matter. Iron losses stand at both windings here."""
    text = simbench(name)
    feeder, model = read_pandapower(text, name, zero_per_positive=4.0), read_simbench(text, name)
    ours, other = PhaseFlow(feeder).solve(), FeederFlow(model)
    theirs = other.solve(-model.load_w[None], -(model.load_w * model.load_tan)[None], model.native_w[None])
    first = [int(np.flatnonzero(feeder.load_customer == k)[0]) for k in range(len(model.load_w))]
    assert ours.load_pu[0, first] == pytest.approx(theirs.voltage_pu[0, model.load_bus], abs=1e-6)
    assert ours.source_w == pytest.approx(theirs.source_w, rel=1e-6)
    assert read_pandapower(text, name, 2.0).branch_s.shape == feeder.branch_s.shape


def test_pandapowers_own_json_is_the_same_feeder_as_its_tables() -> None:
    tables = json.loads(simbench("1-lv-rural1"))
    frames = {}
    for table, columns in tables.items():
        index = columns.get("index", list(range(len(next(iter(columns.values()))))))
        names = [name for name in columns if name != "index"]
        rows = [list(row) for row in zip(*(columns[name] for name in names), strict=True)]
        frame = json.dumps({"columns": names, "index": index, "data": rows})
        frames[table] = {"_module": "pandas.core.frame", "_class": "DataFrame", "_object": frame, "orient": "split"}
    net = {"_module": "pandapower.auxiliary", "_class": "pandapowerNet", "_object": frames | {"f_hz": 50.0}}
    one, two = (read_pandapower(text, "r", 4.0) for text in (json.dumps(tables), json.dumps(net)))
    assert one.bus_name == two.bus_name
    assert (one.branch_s == two.branch_s).all()
    assert (one.customer_w == two.customer_w).all()


def test_the_european_feeder_is_that_of_the_working_group() -> None:
    """906 buses at 416 V behind 11 kV, 905 lines, one transformer of 800 kVA, 55 customers of one phase: 21, 19, 15."""
    feeder = european_lv()
    assert (len(feeder.bus_name), feeder.branch_kind.count("line"), len(feeder.customer_name)) == (907, 905, 55)
    assert np.bincount(feeder.load_phase).tolist() == [21, 19, 15]
    assert feeder.branch_max_va[feeder.branch_kind.index("transformer")] == 800e3


def test_a_phase_that_a_line_does_not_have_is_not_at_its_end() -> None:
    feeder = read_opendss(ieee("ieee13")[0], "ieee13")
    has = dict(zip(feeder.bus_name, feeder.bus_has.tolist(), strict=True))
    assert has["611"] == [False, False, True]
    assert has["646"] == [False, True, True]


def test_units_of_lines_are_those_that_the_script_gives() -> None:
    """200 m of a code in km is 0.2 km; the same in feet has the same impedance."""
    metric = read_opendss(SMALL, "m")
    feet = read_opendss(SMALL.replace("length=200 units=m", f"length={200 / 0.3048} units=ft"), "f")
    assert feet.branch_s == pytest.approx(metric.branch_s, rel=1e-9)
    assert -1 / np.linalg.inv(metric.branch_s[0][:3, 3:])[0, 0] == pytest.approx(
        -1 / -((1.1 + 0.3j + 2 * (0.32 + 0.08j)) / 3 * 0.2)
    )


def test_a_script_is_followed_into_the_files_that_it_redirects_to() -> None:
    head, _, tail = SMALL.partition("New Line.one")
    whole = read_opendss(f'{head}\nRedirect "lines.dss"\n', "r", {"lines.dss": f"New Line.one{tail}"}.__getitem__)
    assert whole.bus_name == read_opendss(SMALL, "s").bus_name


def test_properties_are_followed_in_their_order_and_by_what_they_are_like() -> None:
    """A power factor that comes last sets reactive power anew; `like` takes what the other has."""
    more = "New Load.two like=home bus1=end.3 kw=5\nEdit Load.home kvar=2\nLoad.home.kw=4\n"
    feeder = read_opendss(SMALL + more, "o")
    assert feeder.customer_w.tolist() == [4_000.0, 5_000.0]
    assert feeder.customer_var.tolist() == pytest.approx([2_000.0, 5_000 * np.tan(np.arccos(0.95))])


@pytest.mark.parametrize(
    ("text", "value"), [("8 1000 /", 0.008), ("2 sqr 1 +", 5.0), ("-3e2", -300.0), ("9 sqrt", 3.0)]
)
def test_a_number_may_be_reverse_polish(text: str, value: float) -> None:
    assert number(text) == pytest.approx(value)


def test_a_matrix_is_whole_or_its_lower_triangle() -> None:
    assert triangle("1 | 2 3", 2) == triangle("1 2 | 2 3", 2) == [[1.0, 2.0], [2.0, 3.0]]


def changed(old: str, new: str) -> str:
    assert old in SMALL
    return SMALL.replace(old, new)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (changed("New Load.home", "New Monitor.home"), "no loads and no plants"),
        (changed("bus2=end ", "bus2=low2 "), "load home stands at bus end, which is not there"),
        (changed("kw=3", "kw=three"), r"load.home.kw: 'three' is no number"),
        (changed("kw=3", "kw=nan"), r"load.home.kw: 'nan' is no number"),
        (
            changed("phases=1 kv=0.23", "phases=1 kv=230"),
            r"load home: rated voltage is 230000 V .* give 115.\d+ to 461",
        ),
        (changed("basekv=10", "basekv=10000"), r"transformer .* bus top.* V to ground|rated voltage is"),
        (changed("length=200 units=m", "length=200 units=km"), r"line one drops .* at its limit of 250 A"),
        (changed("linecode=al", "linecode=cu"), "line.one: linecode cu is not there"),
        (changed("kvs=[10 0.4]", "kvs=[10 0.4 0.4]"), "transformer.t.kvs: 3 values: give 2"),
        (changed("New Load.home", "New Generator.home"), "class 'generator' is not read"),
        (changed("kw=3", "kwh=3"), "property 'kwh' is not read"),
        (changed("Clear", "Explode"), "line 2 `Explode`: 'explode' is no command"),
        (changed("bus1=end.2", "bus1=end.4"), "terminal above 3"),
        (changed("bus1=end.2", "bus1=end.2.2"), "load home stands between a phase and itself"),
        (changed("pf=0.95", "pf=95"), "pf is 95: give -1 to 1"),
        (SMALL + "Open Line.one 1", "1 of 3 buses|load home stands at bus end, which is not there"),
        (SMALL + "Redirect more.dss", "it redirects to more.dss: give `include`"),
        (SMALL + "New Line.far bus1=a bus2=b linecode=al", r"2 buses have no way to the source \(a, b\)"),
        (SMALL + "New Load.home kw=1", "load.home is there already"),
        (changed("New Circuit.small", "New Reactor.small"), "class 'reactor' is not read"),
    ],
)
def test_a_script_that_is_no_feeder_is_refused_by_name(script: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_opendss(script, "f")


def broken(change) -> str:
    whole = random_pgm(3)
    change(whole["data"])
    return text_of(whole)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["line"].clear(), "10 of 12 buses have a phase without a closed way"),
        (
            lambda d: d["line"][-1].update(to_status=0),
            r"1 of 12 buses have a phase without a closed way to the source \(11\)",
        ),
        (lambda d: d["line"][0].update(r1=float("nan")), "line 100 has no impedance"),
        (lambda d: d["line"][0].pop("r0"), "line 100 has no r0: unbalanced flow needs"),
        (
            lambda d: d["asym_load"][0].update(p_specified=[float("nan"), 0, 0]),
            "load 302 draws .*nan.* VA: give numbers",
        ),
        (lambda d: (d["asym_load"].clear(), d["sym_gen"].clear()), "no loads and no plants"),
        (
            lambda d: d["node"][3].update(u_rated=0.4),
            r"bus 3: rated voltage is 0.23\d* V: give 50 to 500000 V to ground",
        ),
        (lambda d: d["transformer"][0].update(u1=10.0, tap_pos=0), "rated 10 V at a bus of 10000 V"),
        (lambda d: d["transformer"][0].update(clock=2), "clock is 2 for delta to wye_n: such a pair has an odd clock"),
        (lambda d: d["source"].clear(), "0 sources: give one"),
        (lambda d: d["source"][0].update(u_ref=10_200.0), "the source holds 10200 pu"),
        (lambda d: d.update(transformer_tap_regulator=[{"id": 1}]), "transformer_tap_regulator are not read"),
        (lambda d: d["asym_load"][0].update(node=99), "load 302 stands at bus 99, which is not there"),
        (lambda d: d["node"].append({"id": 3, "u_rated": 400.0}), "bus 3 stands there twice"),
    ],
)
def test_power_grid_model_json_that_is_no_feeder_is_refused_by_name(change, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_pgm(broken(change), "f")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.update(gen={"index": [0], "bus": [1], "p_mw": [1.0]}), "table gen is not read"),
        (lambda t: t.pop("ext_grid"), "table ext_grid has 0 rows in service: give one"),
        (lambda t: t["trafo"]["shift_degree"].__setitem__(0, 17.0), "shift_degree 17: give a multiple of 30"),
        (lambda t: t.pop("bus"), "no source|stands at bus"),
    ],
)
def test_a_net_that_is_no_feeder_is_refused_by_name(change, said: str) -> None:
    tables = json.loads(simbench("1-lv-rural1"))
    change(tables)
    with pytest.raises(ConfigError, match=said):
        read_pandapower(json.dumps(tables), "f", 4.0)


def test_zero_sequence_is_never_made_up() -> None:
    with pytest.raises(ConfigError, match="row 0 has no r0_ohm_per_km: give it, or zero_per_positive"):
        read_pandapower(simbench("1-lv-rural1"), "f")


@pytest.mark.parametrize("read", [read_pgm, read_pandapower])
@pytest.mark.parametrize("text", ["", "{}", "[]", '{"data": 3}', '{"type": "input", "data": {"node": [[1]]}}'])
def test_what_is_another_file_is_refused(read, text: str) -> None:
    with pytest.raises(ConfigError, match="feeder f"):
        read(text, "f")
