"""Which devices of a folder are on or off alone: by their kind, and as the links of its settings tell them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tieline.desk.state import DeskState
from tieline.errors import ConfigError
from tieline.fleet.columns import Fleet
from tieline.node.config import load_config
from tieline.node.link_settings import LinkSettings, least_times_s


def take_on_or_off(folder: Path, state: DeskState, tell: Callable[[str], None] | None = None) -> None:
    """Note in a state read from a journal who is on or off alone, as the links that its server binds say it.

    No journal has that. A folder without settings has no links: their kinds tell.

    Args:
        folder: The data folder.
        state: Its state, before any record is applied.
        tell: Hears that a table of devices can't be read: of which of its loads that is so nobody knows then.
    """
    path = folder / "tieline.toml"
    if not path.is_file():
        return
    settings = load_config(path).links
    try:
        settings = _with_tables(settings, folder)
    except (ConfigError, OSError, UnicodeError) as error:
        if tell is not None:
            tell(f"{error}; of its devices it is not known which are on or off alone")
    for links in (settings.openadr, settings.modbus, settings.mqtt):
        for link in links:
            state.is_switched[[state.fleet.row(name) for name in link.switched if state.fleet.holds(name)]] = True
    take_least_times(settings, state.fleet)


def take_least_times(settings: LinkSettings, fleet: Fleet) -> None:
    """Note how long what is on or off stays so at least, as the profiles of its links say it; else its kind tells."""
    told = [least_times_s(link.devices) for link in settings.modbus]
    told += [least_times_s(link.devices) for link in settings.mqtt]
    for name, least_s in (item for one in told for item in one.items() if fleet.holds(item[0])):
        fleet.min_hold_s[fleet.row(name)] = least_s


def _with_tables(settings: LinkSettings, folder: Path) -> LinkSettings:
    if not any(link.table for link in settings.modbus) and not any(link.table for link in settings.mqtt):
        return settings
    from tieline.node.links import with_tables  # all protocols come with it, and few have a table

    return with_tables(settings, folder)
