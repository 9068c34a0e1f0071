"""Who may claim at a server: the console's people, and the peers of its settings."""

from __future__ import annotations

from tieline.node.config import Settings
from tieline.resource.admission import Principal
from tieline.resource.level import Level

PEOPLE = {
    "owner": Principal("owner", Level.OWNER_NEED),
    "operator": Principal("operator", Level.GRID_EMERGENCY, is_person=True),
    "dispatcher": Principal("dispatcher", Level.UTILITY, is_person=True),
    "program_manager": Principal("program_manager", Level.PROGRAM, is_person=True),
}
"""Those in whose name the console asks; a peer of the settings with the same name takes the place of one."""


def principals_of(settings: Settings) -> dict[str, Principal]:
    """Return who may claim: the console's people, and the peers of the settings."""
    found = dict(PEOPLE)
    for peer in settings.peers:
        resources = frozenset(peer.resources)
        found[peer.name] = Principal(peer.name, Level[peer.ceiling], resources, max_power_w=peer.max_power_w)
    return found
