"""The kinds of rules that come with Tieline, as `tieline rules` tells them apart."""

from __future__ import annotations

BASELINE, PRODUCT = "baseline", "product"
ELIGIBILITY, PROGRAM, ENGINE_HOURS, MINIMUM, JURISDICTION = (
    "eligibility", "program", "engine-hours", "minimum", "jurisdiction"
)  # fmt: skip
KINDS = (BASELINE, PRODUCT, ELIGIBILITY, PROGRAM, ENGINE_HOURS, MINIMUM, JURISDICTION)
KEYS = {
    BASELINE: "rules", PRODUCT: "products", ELIGIBILITY: "eligibility", PROGRAM: "programs",
    ENGINE_HOURS: "engine_hours", MINIMUM: "minimums", JURISDICTION: "jurisdictions",
}  # fmt: skip
"""Under which key each kind stands in the list's JSON."""
