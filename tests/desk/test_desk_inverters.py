"""Inverter settings that a desk takes: by the ranges of IEEE 1547-2018, whole or not at all, and what links say of them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from desk_stage import fleet_of

from tieline.desk.apply import apply
from tieline.desk.inverter_facts import RefusedFor, SettingsStood, Stands, Stood
from tieline.desk.inverters import decide_send, decide_stood, decide_withdraw_settings, views_of, wishes
from tieline.desk.state import DeskState
from tieline.errors import ConfigError
from tieline.fleet.claims import ClaimBook
from tieline.fleet.ledger import Ledger
from tieline.grid.inverter_settings import (
    Droop,
    InverterSettings,
    SettingsSet,
    VoltVar,
    VoltWatt,
    of_curves,
    read_settings,
    settings_text,
    settings_wrong,
)
from tieline.grid.settings import Curves
from tieline.resource.claim import Refusal
from tieline.resource.identity import Kind

VAR = VoltVar((0.92, 0.98, 1.02, 1.08), (0.44, 0.0, 0.0, -0.44))


def _state() -> DeskState:
    fleet = fleet_of([Kind.PV] * 3)
    return DeskState.empty(fleet, ClaimBook(fleet), Ledger())


def _set(version: int = 1, feeder: str = "lv-7", **one: Any) -> SettingsSet:
    what = {"resource": "r1", "volt_var": VAR} | one
    return SettingsSet(feeder, version, "best of 4", "2026-06-01T00:00:00Z", (InverterSettings(**what),))


def _send(state: DeskState, made: SettingsSet, by: str = "ann") -> Any:
    entries, answer = decide_send(state, made, by)
    for entry in entries:
        apply(state, entry.id, entry.fact, 1)
    return answer


def _var(**what: Any) -> dict[str, Any]:
    return {"volt_var": msgspec.structs.replace(VAR, **what)}


@pytest.mark.parametrize(
    ("one", "field", "limit"),
    [
        (_var(volt_pu=(0.92, 0.98, 1.02)), "volt_var.volt_pu", "4: IEEE 1547-2018, 5.3.3, Table 8"),
        (_var(volt_pu=(0.81, 0.98, 1.02, 1.08)), "volt_var.volt_pu[0]", "0.82 to 0.96"),
        (_var(volt_pu=(0.97, 0.98, 1.02, 1.08)), "volt_var.volt_pu[0]", "0.82 to 0.96"),
        (_var(volt_pu=(0.92, 0.96, 1.02, 1.08)), "volt_var.volt_pu[1]", "0.97 to 1"),
        (_var(volt_pu=(0.92, 0.98, 1.04, 1.08)), "volt_var.volt_pu[2]", "1 to 1.03"),
        (_var(volt_pu=(0.92, 0.98, 1.02, 1.19)), "volt_var.volt_pu[3]", "1.04 to 1.18"),
        (_var(volt_pu=(0.92, 0.98, 1.02, 1.01)), "volt_var.volt_pu[3]", "as voltages rise"),
        (_var(var_frac=(0.44, 0.0, 0.1, -0.44)), "volt_var.var_frac[2]", "as shares do not rise"),
        (_var(var_frac=(1.1, 0.0, 0.0, -0.44)), "volt_var.var_frac[0]", "-1 to 1"),
        (_var(var_frac=(-0.1, -0.2, -0.2, -0.44)), "volt_var.var_frac[0]", "0 to 1"),
        (_var(response_s=0.5), "volt_var.response_s", "1 to 90"),
        ({"volt_watt": VoltWatt((1.04, 1.10), (1.0, 0.0))}, "volt_watt.volt_pu[0]", "1.05 to 1.09"),
        ({"volt_watt": VoltWatt((1.06, 1.11), (1.0, 0.0))}, "volt_watt.volt_pu[1]", "1.07 to 1.1"),
        ({"volt_watt": VoltWatt((1.06, 1.10), (0.9, 0.0))}, "volt_watt.watt_frac[0]", "5.4.2, Table 10"),
        ({"volt_watt": VoltWatt((1.06, 1.10), (1.0, 0.0), 61.0)}, "volt_watt.response_s", "0.5 to 60"),
        ({"droop": Droop(over_dead_band_hz=0.01)}, "droop.over_dead_band_hz", "0.017 to 1"),
        ({"droop": Droop(under_frac=0.06)}, "droop.under_frac", "6.5.2.7.2, Table 24"),
        ({"droop": Droop(response_s=float("nan"))}, "droop.response_s", "0.2 to 10"),
        ({"volt_var": None}, "", "volt_var, volt_watt or droop"),
    ],
)  # fmt: skip
def test_what_the_standard_does_not_allow_is_refused_by_field_and_limit(
    one: dict[str, Any], field: str, limit: str
) -> None:
    wrong = settings_wrong(_set(**one))
    assert wrong is not None
    assert wrong.field == f"settings[0]{'.' if field else ''}{field}" and limit in str(wrong.limit)
    state = _state()
    assert isinstance(_send(state, _set(**one)), Refusal) and not state.settings


def test_the_edges_of_the_standards_ranges_are_taken() -> None:
    for pu in ((0.82, 0.97, 1.0, 1.02), (0.96, 0.98, 1.02, 1.04), (0.95, 1.0, 1.03, 1.18)):
        assert settings_wrong(_set(volt_var=VoltVar(pu, (1.0, 0.0, 0.0, -1.0), 90.0))) is None
    for pu2 in ((1.05, 1.06), (1.09, 1.10)):
        assert settings_wrong(_set(volt_watt=VoltWatt(pu2, (1.0, -1.0), 0.5))) is None
    assert settings_wrong(_set(droop=Droop(0.017, 1.0, 0.02, 0.05, 0.2))) is None


def test_curves_that_were_chosen_for_a_feeder_are_written_and_read_as_the_document() -> None:
    made = SettingsSet("lv-7", 3, "best_settings", "2026-06-01T00:00:00Z", (of_curves("r1", Curves()),))
    assert read_settings(settings_text(made)) == made
    assert json.loads(settings_text(made))["settings"][0]["volt_watt"]["volt_pu"] == [1.06, 1.1]
    with pytest.raises(ConfigError, match=r"settings\[0\]\.volt_var"):
        read_settings(settings_text(made).replace('"volt_pu":[0.92', '"volt_pu":["0.92"'))


def test_a_set_is_taken_once_a_newer_one_takes_its_place_and_an_older_one_is_refused() -> None:
    state = _state()
    assert not isinstance(_send(state, _set(2)), Refusal)
    assert decide_send(state, _set(2), "ann")[0] == []
    for made, reason in ((_set(1), "newer"), (_set(2, resource="r2"), "other content")):
        refused = _send(state, made)
        assert isinstance(refused, Refusal) and reason in refused.reason and refused.limit == "> 2"
    _send(state, _set(3, resource="r2"))
    assert [state.fleet.id_of(row) for row in wishes(state)] == ["r2"]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (_set(2, resource="r9"), "no such resource"),
        (_set(feeder="lv-8"), "two settings for one device"),
        (msgspec.structs.replace(_set(2), settings=_set().settings * 2), "named twice"),
        (msgspec.structs.replace(_set(2), settings=()), "nobody is named"),
        (msgspec.structs.replace(_set(2), made_at="yesterday"), "no instant"),
    ],
)
def test_a_set_that_names_nobody_or_somebody_twice_is_refused(made: SettingsSet, reason: str) -> None:
    state = _state()
    _send(state, _set())
    refused = _send(state, made)
    assert isinstance(refused, Refusal) and reason in refused.reason
    assert list(state.settings) == ["lv-7"]


def test_how_devices_stand_is_recorded_once_and_shown_after_the_settings_were_taken_back() -> None:
    state, no = _state(), Stood("volt_var", Stands.REFUSED, RefusedFor.FAILED, "model 705: FAILED")
    _send(state, _set(droop=Droop()))
    row = next(iter(wishes(state)))
    (entry,) = decide_stood(state, {row: (no,)}, 5)
    assert isinstance(entry.fact, SettingsStood)
    apply(state, entry.id, entry.fact, 5)
    assert decide_stood(state, {row: (no,)}, 6) == []
    anew = {row: (Stood("volt_var", Stands.ASKED), Stood("droop", Stands.ADOPTED))}
    (entry,) = decide_stood(state, anew, 6)
    assert entry.fact.stood == {row: (no, Stood("droop", Stands.ADOPTED))}, "a link that starts has yet to look"
    (view,) = views_of(state)
    assert [(one.device, one.function, one.stands) for one in view.devices] == [
        ("r1", "volt_var", "refused"), ("r1", "droop", "asked"),
    ]  # fmt: skip
    assert view.counts == {"refused": 1, "asked": 1} and view.devices[0].why == "model 705: FAILED"
    entries, found = decide_withdraw_settings(state, "lv-7", "ann")
    assert found
    for each in entries:
        apply(state, each.id, each.fact, 7)
    assert decide_withdraw_settings(state, "lv-7", "ann") == ([], False)
    assert wishes(state) == {}
    (entry,) = decide_stood(state, {row: (Stood("droop", Stands.GIVEN_BACK),)}, 8)
    apply(state, entry.id, entry.fact, 8)
    (view,) = views_of(state)
    assert (view.stands, view.counts) == ("withdrawn", {"given back": 1})
