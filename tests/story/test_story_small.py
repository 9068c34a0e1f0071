"""A territory of a street: what is promised is tried there, too."""

from tieline.node.demo import quiet, run_headless
from tieline.times import MINUTE_NS


def test_where_no_store_is_called_an_opt_out_is_tried_on_a_load_whose_own_power_is_known() -> None:
    quiet()
    result = run_headless(40, 204, "cloud", 90 * MINUTE_NS, lambda line: None)
    (promise,) = [p for p in result["promises"] if "opt-out" in p["name"]]
    assert promise["tested"] and promise["held"], promise["evidence"]
    told = result["opt_out"]
    assert told["resource"].startswith("interruptible-load") and told["is_steady"]
    assert abs(told["power_before_w"] - told["base_w"]) > 0.5 * told["rating_w"], "it had been called"
