"""An ISO that clears our offers with others': unit commitment, five-minute dispatch, and a price at each bus."""

from tieline.simulate.clearing.case118 import Case, case118
from tieline.simulate.clearing.commitment import Commitment, commit
from tieline.simulate.clearing.day import Lived, Market
from tieline.simulate.clearing.dispatch import Cleared, Dispatcher, Penalties
from tieline.simulate.clearing.network import Network
from tieline.simulate.clearing.offers import Offer

__all__ = [
    "Case",
    "Cleared",
    "Commitment",
    "Dispatcher",
    "Lived",
    "Market",
    "Network",
    "Offer",
    "Penalties",
    "case118",
    "commit",
]
