"""What keeps a server from starting is what `tieline doctor` finds: one check, asked by two verbs."""

import asyncio
import errno
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from data_folder import data_folder

import tieline.node.serve  # noqa: F401  loaded before the verb is, which then says nothing of loading it
from tieline.errors import ConfigError
from tieline.node.cli import main
from tieline.node.links import listening

TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
battery-1,battery,5000,5000,10000,feeder-1,site-1,pool-1
battery-2,battery,5000,5000,10000,feeder-1,site-1,pool-1
heater-1,water_heater,0,3000,0,feeder-1,site-1,pool-1
"""
GOOD = "0123456789abcdef" * 4
DNO = '[[peers]]\nname = "dno"\nceiling = "ENVELOPE"\n[[links.dnp3]]\naddress = {address}\nport = {port}\n'
DNO += 'groups = [{{ resource = "feeder-1", at = {at} }}]\n'
DNO += 'masters = [{{ name = "dno", address = 1, may_read = ["{reads}"]{more} }}]\n{tls}'
FITTING = {"address": 10, "port": 0, "at": 0, "reads": "feeder-1", "more": "", "tls": ""}
TLS = 'tls = { certificate = "we.pem", key = "we.key", authority = "authority.pem" }\n'
ISO = '[[links.iso]]\nzone = "America/Chicago"\n'
VTN = '[[links.openadr]]\nport = 0\nresources = ["battery-1"]\n'
CLIENT = f'clients = [{{ id = "battery-1", secret_sha256 = "{GOOD}" }}]\n'
MQTT = '[[links.mqtt]]\nhost = "127.0.0.1"\n'
HEATER = 'devices = { heater-1 = { device = "heater-1", profile = "water_heater" } }\n'


def modbus(address: str, profile: str = "battery_inverter", name: str = "battery-1", more: str = "") -> str:
    units = f'devices = {{ {name} = {{ address = "{address}", profile = "{profile}" }}{more} }}'
    return f"[[links.modbus]]\n{units}\n"


def dnp3(**other: object) -> str:
    return DNO.format(**{**FITTING, **other})


UNIT = "$.links.modbus[0].devices.battery-1"
BAD = {
    "console without its certificate": ('[tls]\ncertificate = "no.pem"\nkey = "no.key"\n', "$.tls.certificate"),
    "console with a certificate that is none": ('[tls]\ncertificate = "x.pem"\nkey = "x.pem"\n', "$.tls"),
    "console in the clear off loopback": ('host = "0.0.0.0"\n', "$.host"),
    "console's port": ("port = 70000\n", "$.port"),
    "provider's secret": (
        '[oidc]\nissuer = "https://id.example"\nclient_id = "t"\nclient_secret_file = "none"\n'
        'redirect_uri = "https://desk.example/oidc/callback"\n',
        "$.oidc.client_secret_file",
    ),
    "provider in the clear": (
        '[oidc]\nissuer = "http://id.example"\nclient_id = "t"\n'
        'redirect_uri = "https://desk.example/oidc/callback"\n',
        "$.oidc.issuer",
    ),
    "way back from the provider in the clear": (
        '[oidc]\nissuer = "https://id.example"\nclient_id = "t"\nredirect_uri = "http://desk.example/oidc/callback"\n',
        "$.oidc.redirect_uri",
    ),
    "unknown key": ("colour = 1\n", "$.colour"),
    "zone": ('zone = "Mars/Olympus"\n', "$.zone"),
    "pool that there isn't": ("[pools.pool-9]\noperator_frac = 0.1\n", "$.pools"),
    "feeder that there isn't": ("[limits]\nfeeder_move_w = { feeder-9 = 1e5 }\n", "$.limits.feeder_move_w"),
    "modbus address without a port": (modbus("10.0.0.5"), f"{UNIT}.address"),
    "modbus address with unit 0": (modbus("10.0.0.5:502/0"), f"{UNIT}.address"),
    "modbus profile": (modbus("10.0.0.5:502/1", "toaster"), f"{UNIT}.profile"),
    "modbus profile of another kind than the registry's": (
        modbus("10.0.0.5:502/1", name="heater-1"), "$.links.modbus[0].devices.heater-1.profile"
    ),
    "modbus profile that the table leaves to its default": (
        '[[links.modbus]]\ntable = "heater.csv"\n', "$.links.modbus[0].devices.heater-1.profile"
    ),
    "modbus device that is a feeder": (
        modbus("10.0.0.5:502/1", name="feeder-1"), "$.links.modbus[0].devices.feeder-1.profile"
    ),
    "mqtt profile of another kind than the registry's": (
        MQTT + 'devices = { battery-1 = { device = "b", profile = "water_heater" } }\n',
        "$.links.mqtt[0].devices.battery-1.profile",
    ),
    "mqtt profile that is not told over a broker": (
        MQTT + 'devices = { battery-1 = { device = "b", profile = "battery_inverter" } }\n',
        "$.links.mqtt[0].devices.battery-1.profile",
    ),
    "modbus profile of another wire": (modbus("10.0.0.5:502/1", "plug"), f"{UNIT}.profile"),
    "modbus device that there isn't": (modbus("10.0.0.5:502/1", name="battery-9"), "$.links.modbus[0].devices"),
    "modbus pace": (modbus("10.0.0.5:502/1") + "poll_s = 0.0\n", "$.links.modbus[0].poll_s"),
    "modbus in flight": (modbus("10.0.0.5:502/1") + "in_flight = 0\n", "$.links.modbus[0].in_flight"),
    "two resources at one modbus address": (
        modbus("10.0.0.5:502/1", more=', battery-2 = { address = "10.0.0.5:502/01" }'),
        "$.links.modbus[0].devices.battery-2.address",
    ),
    "modbus table that there isn't": ('[[links.modbus]]\ntable = "none.csv"\n', "$.links.modbus[0].table"),
    "modbus table's address": ('[[links.modbus]]\ntable = "modbus.csv"\n', "battery-2.address"),
    "mqtt profile": (
        MQTT + 'devices = { heater-1 = { device = "h", profile = "toaster" } }\n',
        "$.links.mqtt[0].devices.heater-1.profile",
    ),
    "mqtt device with a wildcard": (
        MQTT + 'devices = { heater-1 = { device = "+", profile = "water_heater" } }\n',
        "$.links.mqtt[0].devices.heater-1.device",
    ),
    "mqtt port": (MQTT + HEATER + "port = 0\n", "$.links.mqtt[0].port"),
    "mqtt contract": (MQTT + HEATER + 'contract = "telepathy"\n', "$.links.mqtt[0].contract"),
    "mqtt password in the clear": (
        '[[links.mqtt]]\nhost = "broker.example"\nuser = "u"\n' + HEATER, "$.links.mqtt[0].tls_authority"
    ),
    "two mqtt links by one id at one broker": (
        MQTT.replace("127.0.0.1", "Broker.example") + 'name = "a"\nclient_id = "desk"\n' + HEATER
        + MQTT.replace("127.0.0.1", "broker.example") + 'name = "b"\nclient_id = "desk"\n',
        "$.links.mqtt[1].client_id",
    ),
    "vtn in the clear off loopback": (VTN + CLIENT + 'host = "0.0.0.0"\n', "$.links.openadr[0].host"),
    "vtn's port": (VTN.replace("0", "70000") + CLIENT, "$.links.openadr[0].port"),
    "vtn's callback": (VTN + CLIENT + 'callbacks = ["ven"]\n', "$.links.openadr[0].callbacks"),
    "client's secret": (VTN + CLIENT.replace(GOOD, "zz"), "$.links.openadr[0].clients[0].secret_sha256"),
    "client's scope": (
        VTN + CLIENT.replace(" }", ', scopes = ["read_minds"] }'), "$.links.openadr[0].clients[0].scopes"
    ),
    "client's certificate": (
        VTN + CLIENT.replace(" }", ', certificate = "zz" }') + TLS, "$.links.openadr[0].clients[0].certificate"
    ),
    "client pinned in the clear": (
        VTN + CLIENT.replace(" }", f', certificate = "sha256:{GOOD}" }}'), "$.links.openadr[0].clients[0].certificate"
    ),
    "switched end-point that there isn't": (
        VTN + CLIENT + 'switched = ["heater-1"]\n', "$.links.openadr[0].switched"
    ),
    "nobody speaks for a resource": (VTN + "clients = []\n", "$.links.openadr[0].clients"),
    "iso in the clear": (ISO + 'url = "http://iso.example/"\npools = { pool-1 = "X" }\n', "$.links.iso[0].url"),
    "iso without a certificate": (ISO + 'url = "https://iso.example/"\npools = { pool-1 = "X" }\n', "$.links.iso[0].url"),
    "iso without pools": (ISO + 'url = "http://127.0.0.1/"\npools = {}\n', "$.links.iso[0].pools"),
    "iso's pool": (ISO + 'url = "http://127.0.0.1/"\npools = { pool-9 = "X" }\n', "$.links.iso.pools"),
    "iso's pace": (ISO + 'url = "http://127.0.0.1/"\npools = { pool-1 = "X" }\npoll_s = 0.0\n', "$.links.iso[0].poll_s"),
    "dnp3 address": (dnp3(address=65520), "$.links.dnp3[0].address"),
    "dnp3 port": (dnp3(port=70000), "$.links.dnp3[0].port"),
    "dnp3 events": (dnp3().replace("groups", "events = 0\ngroups"), "$.links.dnp3[0].events"),
    "dnp3 keep-alive of none": (dnp3().replace("groups", "keep_alive_s = 0\ngroups"), "$.links.dnp3[0].keep_alive_s"),
    "dnp3 keep-alive beyond a day": (
        dnp3().replace("groups", "keep_alive_s = 1e300\ngroups"), "$.links.dnp3[0].keep_alive_s"
    ),
    "dnp3 host": (dnp3().replace("groups", 'host = " "\ngroups'), "$.links.dnp3[0].host"),
    "journal's url": ('[journal]\nurl = "sqlite:///x"\n', "$.journal.url"),
    "journal's password": ('[journal]\nurl = "postgresql://u:p@h/x"\n', "$.journal.url"),
    "peer's resource": (
        '[[peers]]\nname = "a"\nceiling = "MARKET"\nresources = ["pool-1", "feeder-99"]\n', "$.peers[0].resources[1]"
    ),
    "dnp3 index": (dnp3(at=70000), "$.links.dnp3[0].groups[0].at"),
    "dnp3 master reads what is not shown": (dnp3(reads="feeder-2"), "$.links.dnp3[0].masters[0]"),
    "dnp3 ceiling": (dnp3(more=', ceiling = "SAFETY"'), "$.links.dnp3[0].masters[0]"),
    "dnp3 master that is no peer": (dnp3().replace('name = "dno"\nc', 'name = "tso"\nc'), "$.links.dnp3[0].masters[0].name"),
    "dnp3 over TLS without a pinned certificate": (dnp3(tls=TLS), "$.links.dnp3[0].masters[0].certificate"),
    "dnp3 pinned in the clear": (
        dnp3(more=f', certificate = "sha256:{GOOD}"'), "$.links.dnp3[0].masters[0].certificate"
    ),
    "two listeners of one port": ("port = 20001\n" + dnp3(port=20001), "$.links.dnp3[0].port"),
    "two links of one name": (modbus("10.0.0.5:502/1") + MQTT + HEATER + 'name = "modbus"\n', "$.links"),
}  # fmt: skip


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("start")
    folder, _ = data_folder(base, TABLE)
    shutil.copytree(folder, base / "pki", ignore=lambda _, names: [n for n in names if n.endswith((".db", ".toml"))])
    (folder / "x.pem").write_text("no certificate")
    (folder / "modbus.csv").write_text(
        "id,address,profile\nbattery-1,10.0.0.5:502/1,\nbattery-2,10.0.0.6,battery_inverter\n"
    )
    (folder / "heater.csv").write_text("id,address,profile\nbattery-1,10.0.0.5:502/1,\nheater-1,10.0.0.6:502/1,\n")
    return folder


def settings(folder: Path, text: str) -> None:
    port = "" if text.startswith("port") else "port = 0\n"
    (folder / "tieline.toml").write_text(port + text)


def asked(*words: str) -> tuple[int, dict]:
    done = CliRunner().invoke(main, [*words])
    return done.exit_code, json.loads(done.stdout or done.stderr)


@pytest.mark.parametrize(("text", "field"), BAD.values(), ids=BAD)
def test_doctor_finds_what_serve_refuses_and_both_name_its_place(works: Path, text: str, field: str) -> None:
    settings(works, text)
    code, found = asked("doctor", "--data", str(works), "--json")
    said = [fault for part in found.values() if isinstance(part, dict) for fault in part.get("faults", ())]
    assert (code, found["healthy"], len(said)) == (1, False, 1), found
    assert str(said[0]["field"]).endswith(field), said
    assert said[0]["limit"], said
    refused = CliRunner().invoke(main, ["serve", "--data", str(works), "--for", "0.1s"])
    assert refused.exit_code == 2
    told, asked_again = said[0]["error"].partition(", and now is ")[0], refused.stderr.partition(", and now is ")[0]
    assert asked_again.rstrip() == f"tieline: {told}"


FIT = {
    "nothing but the console": "",
    "console over TLS": 'host = "0.0.0.0"\n[tls]\ncertificate = "we.pem"\nkey = "we.key"\n',
    "a dno in the clear": dnp3(),
    "a dno over TLS": dnp3(tls=TLS, more=f', certificate = "sha256:{GOOD}"'),
    "a master that is one of the console's people": dnp3().replace('"dno"', '"dispatcher"'),
    "an iso on loopback": ISO + 'url = "http://localhost:9/"\npools = { pool-1 = "X" }\n',
    "an iso over TLS": ISO + 'url = "https://127.0.0.1:9/"\npools = { pool-1 = "X" }\n' + TLS,
    "a vtn": VTN + CLIENT,
    "files beside the folder": VTN
    + CLIENT
    + TLS.replace('"we', '"../pki/we').replace('"authority', '"../pki/authority'),
    "a vtn over TLS": VTN + CLIENT + TLS + 'host = "0.0.0.0"\n',
    "devices": modbus("127.0.0.1:9/1") + MQTT + HEATER,
    "one client id at two brokers, and two links of one broker by ids of their own": "".join(
        MQTT + f'port = {port}\nname = "{name}"\n{more}'
        for port, name, more in (
            (1883, "a", 'client_id = "x"\n'),
            (1884, "b", 'client_id = "x"\n'),
            (1884, "c", ""),
            (1884, "d", ""),
            (1884, "e", 'client_id = "y"\n'),
        )
    ),
    "a heater behind a plug": MQTT + HEATER.replace("water_heater", "plug"),
    "a battery behind a hybrid inverter": modbus("127.0.0.1:9/1", "hybrid_inverter"),
}


@pytest.mark.parametrize("text", FIT.values(), ids=FIT)
def test_what_doctor_calls_healthy_starts(works: Path, text: str) -> None:
    settings(works, text)
    code, found = asked("doctor", "--data", str(works), "--json")
    assert (code, found["healthy"]) == (0, True), found
    done = CliRunner().invoke(main, ["serve", "--data", str(works), "--for", "0.1s"])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("key", ["fleet_move_w", "feeder_move_w.feeder-1"])
def test_a_limit_of_moves_below_a_devices_own_step_is_named_with_the_device_by_doctor_and_at_the_start(
    works: Path, key: str
) -> None:
    for power_w, is_named in ((9_999.0, True), (10_000.0, False)):  # a battery of 5 kW goes 10 kW from end to end
        settings(works, f"limits.{key} = {power_w}\n")
        code, found = asked("doctor", "--data", str(works), "--json")
        assert (code, found["healthy"], "limits" in found) == (0, True, is_named), found
        done = CliRunner().invoke(main, ["serve", "--data", str(works), "--for", "0.1s"])
        assert done.exit_code == 0, done.output
        assert (f"$.limits.{key} = {power_w:g} W is below the step of battery-1 (10000 W)" in done.output) is is_named
        assert not is_named or "battery-1 (10000 W)" in found["limits"]["says"]


def test_a_profile_that_is_not_the_resources_is_refused_with_those_that_would_do(works: Path) -> None:
    settings(works, modbus("10.0.0.5:502/1") + MQTT + HEATER.replace("water_heater", "ev_charger"))
    _, found = asked("doctor", "--data", str(works), "--json")
    (fault,) = found["links"]["faults"]
    assert fault["value"] == "ev_charger"
    assert "'heater-1' is water_heater in the registry: give plug or water_heater" in fault["error"]


PROFILES = {"heater-1": "plug or water_heater", "battery-1": ""}


@pytest.mark.parametrize("profile", ["toaster", "battery_inverter", "ev_charger"])
@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("is_table", [False, True])
def test_a_profile_that_is_none_or_of_another_wire_is_refused_with_those_alone_that_fit_the_registry(
    works: Path, profile: str, name: str, is_table: bool
) -> None:
    """A refusal that names what the next start refuses sends people in circles."""
    row = f'devices = {{ {name} = {{ device = "h", profile = "{profile}" }} }}\n'
    (works / "mqtt.csv").write_text(f"id,device,profile\n{name},h,{profile}\n")
    settings(works, MQTT + ('table = "mqtt.csv"\n' if is_table else row))
    _, found = asked("doctor", "--data", str(works), "--json")
    (fault,) = found["links"]["faults"]
    assert (fault["field"], fault["value"]) == (f"$.links.mqtt[0].devices.{name}.profile", profile)
    fits = PROFILES[name]
    assert fault["error"].endswith(f": give {fits}" if fits else "no profile over mqtt serves that: leave it out here")
    assert ("there is no such profile" in fault["error"]) is (profile == "toaster")


def test_doctor_names_every_fault_and_serve_says_how_many_more_there_are(works: Path) -> None:
    settings(works, dnp3(port=70000, address=65520) + modbus("10.0.0.5", name="battery-1"))
    _, found = asked("doctor", "--data", str(works), "--json")
    fields = [fault["field"] for fault in found["links"]["faults"]]
    assert fields == ["$.links.dnp3[0].port", "$.links.dnp3[0].address", f"{UNIT}.address"]
    done = CliRunner().invoke(main, ["serve", "--data", str(works), "--for", "0.1s"])
    assert "(and 2 more: see `tieline doctor" in done.stderr


def test_a_fault_of_the_settings_is_told_once(works: Path) -> None:
    (works / "tieline.toml").write_text("port = 70000\n")
    _, found = asked("doctor", "--data", str(works), "--json")
    assert found["settings"]["faults"][0]["value"] == "70000"
    assert [found[part]["ok"] for part in ("links", "journal", "readings")] == [None] * 3


def test_with_json_a_refusal_is_an_object_with_field_value_and_limit(works: Path) -> None:
    (works / "tieline.toml").write_text("port = 70000\n")
    code, said = asked("sql", "select 1", "--data", str(works), "--json")
    assert code == 2
    assert (said["field"], said["value"], said["limit"]) == ("$.port", "70000", "give 0 to 65535")
    (works / "tieline.toml").write_text("port = 0\n")
    code, said = asked("why", "battery-1", "--at", "noon", "--data", str(works), "--json")
    assert (code, said["field"], said["value"]) == (2, "--at", "noon")
    assert said["limit"].startswith("give ISO 8601")
    code, said = asked("why", "battery-1", "--at", "", "--data", str(works), "--json")
    assert (code, said["field"]) == (2, "--at"), "an instant that a script left empty is none that was left out"
    code, said = asked("why", "nobody", "--data", str(works), "--json")
    assert (code, said["field"], said["value"]) == (2, "resource", "nobody")
    code, said = asked("export", "Nothing", "x.csv", "--data", str(works), "--json")
    assert (code, said["value"]) == (2, "Nothing")
    code, said = asked("why", "battery-1", "--colour", "--json")
    assert (code, said["field"]) == (2, "--colour")
    code, said = asked("demo", "--headless", "--seed", "-1", "--json")
    assert (code, said["field"]) == (2, "--seed")
    assert "--seed" in said["error"]


def test_a_row_of_a_table_is_named_with_its_file_and_number(works: Path) -> None:
    settings(works, *BAD["modbus table's address"][:1])
    done = CliRunner().invoke(main, ["serve", "--data", str(works), "--for", "0.1s"])
    where = f"{works / 'modbus.csv'}: row 3: battery-2.address = '10.0.0.6': "
    assert done.stderr == f"tieline: {where}give host:port/unit, such as 10.0.0.5:502/1\n"


def test_a_taken_port_is_named_with_the_setting_that_asks_for_it(works: Path) -> None:
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        (works / "tieline.toml").write_text(f"port = {port}\n")
        done = CliRunner().invoke(main, ["serve", "--data", str(works), "--for", "0.1s"])
        assert done.exit_code == 2
        assert f"$.port: 127.0.0.1:{port}: " in done.stderr
        done = CliRunner().invoke(main, ["serve", "--data", str(works), "--for", "0.1s", "--port", str(port)])
        assert f"--port: 127.0.0.1:{port}: " in done.stderr


@pytest.mark.parametrize("broken", [BrokenPipeError(errno.EPIPE, "Broken pipe"), OSError(errno.EIO, "I/O error")])
def test_only_what_a_port_or_address_does_is_told_of_the_setting(broken: OSError) -> None:
    """A terminal that went gives EIO, a pipe EPIPE; a server says its address as soon as it listens."""

    async def fails() -> None:
        raise broken

    with pytest.raises(OSError) as found:
        asyncio.run(listening(fails(), "$.port", "127.0.0.1", 80))
    assert found.value is broken


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_ours_is_told_by_its_setting(host: str) -> None:
    async def listens() -> None:
        await asyncio.get_running_loop().create_server(asyncio.Protocol, host, 0)

    with pytest.raises(ConfigError, match=r"\$\.port: .*give an address of ours"):
        asyncio.run(listening(listens(), "$.port", host, 0))


def test_where_files_are_looked_for_is_said_as_it_is(works: Path) -> None:
    """A path such as ../pki/we.pem is taken (above): nothing may say that files lie in the folder alone."""
    said = (Path(__file__).parents[2] / "docs" / "reference" / "settings.md").read_text()
    assert "A relative path counts from the data folder, and may lead out of it." in said
    assert "looked for in" not in said
