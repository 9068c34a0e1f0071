"""Plots show what the answers say: their lines are read back."""

import sys

import numpy as np
import pytest

from tieline.bench.kernel import reference_price, reference_stores
from tieline.errors import ConfigError
from tieline.grid.operating import OperatingEnvelopes
from tieline.plan import Terms, plan_pool, plan_stores
from tieline.plots import plot_envelope, plot_forecast, plot_pool, plot_store

HOURS = 0.25


def steps_of(axes) -> list[np.ndarray]:
    return [patch.get_data().values for patch in axes.patches if hasattr(patch, "get_data")]


def test_a_store_is_drawn_with_its_price_what_it_does_and_what_it_holds() -> None:
    pytest.importorskip("matplotlib")
    stores, price = reference_stores(3), reference_price()
    plans = plan_stores(stores, price, price, HOURS)
    top, middle, low = plot_store(stores, plans, price, HOURS, at=1).axes
    assert steps_of(top)[0] == pytest.approx(price) and steps_of(middle)[0] == pytest.approx(plans.power_w[1])
    held = low.lines[0].get_ydata()
    assert len(held) == 97 and held[0] == stores.start_wh[1] and held[-1] == pytest.approx(stores.end_wh[1])
    assert stores.least_wh[1] - 1e-9 <= held.min() and held.max() <= stores.most_wh[1] + 1e-9


def test_a_pool_is_drawn_with_its_gap_and_within_its_band() -> None:
    pytest.importorskip("matplotlib")
    terms = Terms(reference_price(), low_w=-5.0)
    plan = plan_pool(reference_stores(4), terms, HOURS)
    figure = plot_pool(plan, terms, HOURS)
    assert f"gap {plan.gap_frac:.1e}" in figure.get_suptitle()
    net, low = steps_of(figure.axes[1])  # above there is no bound, and none is drawn
    assert net == pytest.approx(plan.net_w) and low == pytest.approx(np.full(96, -5.0))


def test_an_envelope_has_a_bar_for_each_customer_and_names_what_holds_it() -> None:
    pytest.importorskip("matplotlib")
    low, high = np.array([[-1e3, -2e3, 0.0]]), np.array([[4e3, 0.0, 5e3]])
    figure = plot_envelope(OperatingEnvelopes(low, high, (("voltage high at load 7",),), np.zeros(1), 1))
    bars = [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in figure.axes[0].patches]
    assert bars == [(-1.0, 4.0), (-2.0, 0.0), (0.0, 5.0)]
    assert figure.get_suptitle() == "9 kW may be given, 3 kW taken; held by voltage high at load 7"


def test_a_forecast_has_a_band_for_each_pair_of_levels_and_what_came() -> None:
    pytest.importorskip("matplotlib")
    mean, levels = np.arange(24.0), np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    figure = plot_forecast(mean, mean[:, None] + levels - 0.5, levels, mean + 0.1)
    named = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert named == ["90% band", "50% band", "mean", "came"]
    assert steps_of(figure.axes[0])[1] == pytest.approx(mean + 0.1)


def test_what_does_not_fit_and_a_machine_without_matplotlib_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    stores, price = reference_stores(2), reference_price()
    plans = plan_stores(stores, price, price, HOURS)
    for said, draw in {
        "at = 2: give 0 to 1": lambda: plot_store(stores, plans, price, HOURS, at=2),
        r"price_per_wh has shape \(95,\): give \(96,\)": lambda: plot_store(stores, plans, price[1:], HOURS),
        r"quantiles has shape \(2, 3\): give \(2, 1\)": lambda: plot_forecast(
            np.zeros(2), np.zeros((2, 3)), np.zeros(1)
        ),
    }.items():
        with pytest.raises(ConfigError, match=said):
            draw()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r"matplotlib is not installed: `pip install tieline\[plot\]`"):
        plot_store(stores, plans, price, HOURS)
