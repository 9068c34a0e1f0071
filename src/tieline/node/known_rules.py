"""Whether there are rules of eligibility for where a server's devices stand: where there are none, nobody may serve."""

from __future__ import annotations

from tieline.contract.eligibility import eligibility_rules
from tieline.contract.jurisdiction import jurisdictions
from tieline.desk.agreed import Agreements
from tieline.node.config import Settings


def known_jurisdictions() -> list[str]:
    """Return the jurisdictions in which some rule lets somebody serve, sorted."""
    words = (rule.jurisdiction for rule in eligibility_rules() if rule.allow)
    return sorted({one for each in words for one in ((each,) if isinstance(each, str) else each)})


def unruled(settings: Settings, agreed: Agreements | None) -> list[str]:
    """Return what is to be said of jurisdictions that no rule allows anybody in, by their place, value and mend.

    Args:
        settings: Hold where devices stand that no contract has a location for.
        agreed: The contracts, with their locations; None: there are none.
    """
    known = known_jurisdictions()
    listed = f"give one of {', '.join(known)}"

    def mend(code: str) -> str:
        meant = jurisdictions().get(code)
        return listed if meant is None else f"{meant.says} ({meant.standard}); {listed}"

    says = []
    if settings.jurisdiction not in known:
        says.append(
            f"$.jurisdiction = {settings.jurisdiction!r}: there is no rule of eligibility for it, so that no device "
            f"there may serve any market or program: {mend(settings.jurisdiction)}"
        )
    for name, place in ({} if agreed is None else agreed.book.locations).items():
        if place.jurisdiction not in known:
            says.append(
                f"location[{name}].jurisdiction = {place.jurisdiction!r}: there is no rule of eligibility for it, so "
                f"that no device there may serve any market or program: {mend(place.jurisdiction)}"
            )
    return says
