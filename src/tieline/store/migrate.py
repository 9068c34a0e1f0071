"""Brings a database up to today's schema."""

from __future__ import annotations

from importlib.resources import files

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine


def migrate(engine: Engine, revision: str = "head") -> None:
    """Run the migrations up to a revision; nothing happens where the database is there already."""
    config = Config()
    config.set_main_option("script_location", str(files("tieline.store") / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
