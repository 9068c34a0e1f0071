"""Tier 1: topology, limits, power flow, operating envelopes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tieline.exports import lazily

if TYPE_CHECKING:
    from tieline.grid.allocation import Relief, ReliefTerms, relieve
    from tieline.grid.envelope_file import envelope_text
    from tieline.grid.envelope_terms import EnvelopeTerms
    from tieline.grid.estimate import Estimate, Meter
    from tieline.grid.estimate import estimate as estimate_state
    from tieline.grid.hosting import Hosting
    from tieline.grid.hosting import hosting as hosting_capacity
    from tieline.grid.operating import OperatingEnvelopes, check_corners, operating_envelopes
    from tieline.grid.phaseflow import PhaseFlow, PhaseResult
    from tieline.grid.read_cim import read_cim as from_cim
    from tieline.grid.read_opendss import read_opendss as from_opendss
    from tieline.grid.read_pandapower import read_pandapower as from_pandapower
    from tieline.grid.read_pgm import read_pgm as from_pgm
    from tieline.grid.restoration import Outage, Restoration, restore
    from tieline.grid.samples import european_lv, european_lv_text
    from tieline.grid.settings import Curves, best_settings
    from tieline.grid.unbalanced import Feeder

__all__ = [
    "Curves",
    "EnvelopeTerms",
    "Estimate",
    "Feeder",
    "Hosting",
    "Meter",
    "OperatingEnvelopes",
    "Outage",
    "PhaseFlow",
    "PhaseResult",
    "Relief",
    "ReliefTerms",
    "Restoration",
    "best_settings",
    "check_corners",
    "envelope_text",
    "estimate_state",
    "european_lv",
    "european_lv_text",
    "from_cim",
    "from_opendss",
    "from_pandapower",
    "from_pgm",
    "hosting_capacity",
    "operating_envelopes",
    "relieve",
    "restore",
]
_WHERE = {
    "Curves": "settings",
    "EnvelopeTerms": "envelope_terms",
    "Estimate": "estimate",
    "Feeder": "unbalanced",
    "Hosting": "hosting",
    "Meter": "estimate",
    "OperatingEnvelopes": "operating",
    "Outage": "restoration",
    "PhaseFlow": "phaseflow",
    "PhaseResult": "phaseflow",
    "Relief": "allocation",
    "ReliefTerms": "allocation",
    "Restoration": "restoration",
    "best_settings": "settings",
    "check_corners": "operating",
    "envelope_text": "envelope_file",
    "estimate_state": "estimate:estimate",
    "european_lv": "samples",
    "european_lv_text": "samples",
    "from_cim": "read_cim:read_cim",
    "from_opendss": "read_opendss:read_opendss",
    "from_pandapower": "read_pandapower:read_pandapower",
    "from_pgm": "read_pgm:read_pgm",
    "hosting_capacity": "hosting:hosting",
    "operating_envelopes": "operating",
    "relieve": "allocation",
    "restore": "restoration",
}

if not TYPE_CHECKING:  # a checker knows the names by the imports above
    __getattr__, __dir__ = lazily(__name__, _WHERE)
