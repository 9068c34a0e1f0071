"""Forecasts: load by ridge and a global model, PV from weather, quantiles that hold, and what was known then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tieline.exports import lazily

if TYPE_CHECKING:
    from tieline.forecast.bands import LEVELS, Bands
    from tieline.forecast.bands import bands as bands_around
    from tieline.forecast.choosing import choose, spoken
    from tieline.forecast.clock import DayClock
    from tieline.forecast.known import Issue
    from tieline.forecast.pv import Place, Roofs, Weather
    from tieline.forecast.pv import learn as learn_roofs
    from tieline.forecast.replay import MODELS, Past, foretell
    from tieline.forecast.replay import replay as replay_days
    from tieline.forecast.score import coverage, pinball, skill, wape

__all__ = [
    "Bands",
    "DayClock",
    "Issue",
    "LEVELS",
    "MODELS",
    "Past",
    "Place",
    "Roofs",
    "Weather",
    "bands_around",
    "choose",
    "coverage",
    "foretell",
    "learn_roofs",
    "pinball",
    "replay_days",
    "skill",
    "spoken",
    "wape",
]
_WHERE = {
    "Bands": "bands",
    "DayClock": "clock",
    "Issue": "known",
    "LEVELS": "bands",
    "MODELS": "replay",
    "Past": "replay",
    "Place": "pv",
    "Roofs": "pv",
    "Weather": "pv",
    "bands_around": "bands:bands",
    "choose": "choosing",
    "coverage": "score",
    "foretell": "replay",
    "learn_roofs": "pv:learn",
    "pinball": "score",
    "replay_days": "replay:replay",
    "skill": "score",
    "spoken": "choosing",
    "wape": "score",
}

if not TYPE_CHECKING:  # a checker knows the names by the imports above
    __getattr__, __dir__ = lazily(__name__, _WHERE)
