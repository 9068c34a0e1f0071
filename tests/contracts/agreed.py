"""An agreement between an owner and a utility, in the words of the files that people write."""

from __future__ import annotations

from datetime import UTC, datetime

from tieline.contract.party import Contracts, parse_contracts
from tieline.times import to_ns

EVIDENCE = "a" * 64
CONTRACTS = f"""
[[party]]
id = "utility-1"
roles = ["utility", "scheduling_coordinator"]
[[party]]
id = "retailer-1"
roles = ["retailer", "aggregator"]
[[party]]
id = "owner-1"
roles = ["owner", "customer"]

[[location]]
id = "site-1"
customer = "owner-1"
utility = "utility-1"
retailer = "retailer-1"
account = "A-1"
meter = "M-1"
jurisdiction = "US-CA"
load_zone = "north"
[[location]]
id = "site-2"
customer = "owner-1"
utility = "utility-1"
retailer = "retailer-1"
account = "A-1"
meter = "M-2"
jurisdiction = "US-CA"
load_zone = "north"

[[contract]]
id = "contract-1"
owner = "owner-1"
manager = "retailer-1"
locations = ["site-1", "site-2"]
[[contract.terms]]
version = 1
effective_from = 2026-01-01T00:00:00Z
effective_to = 2027-01-01T00:00:00Z
products = ["capacity-bid", "base-interruptible", "emergency-load-reduction", "peak-rebate", "cycling-half"]
notice_s = 900
calls_a_season = 12
currency = "USD"
owner_share_frac = 0.8
[[contract.consents]]
products = ["capacity-bid", "base-interruptible", "emergency-load-reduction", "peak-rebate"]
granted_at = 2026-01-01T00:00:00Z
evidence_sha256 = "{EVIDENCE}"
[contract.termination]
notice_days = 30
"""


def contracts(text: str = CONTRACTS) -> Contracts:
    return parse_contracts(text, "contracts.toml")


def ns(text: str) -> int:
    """Return an instant as UTC nanoseconds; one without an offset is UTC."""
    at = datetime.fromisoformat(text)
    return to_ns(at if at.tzinfo else at.replace(tzinfo=UTC))
