"""The schema of the record: one definition for SQLite and PostgreSQL; migrations bring a data folder up to it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable

metadata = MetaData()
_SEQ = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")

record = Table(
    "record",
    metadata,
    Column("seq", _SEQ, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("recorded_at_ns", BigInteger, nullable=False),
    Column("caused_by", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)
Index("record_subject", record.c.subject, record.c.recorded_at_ns)
"""Facts in order; `hash` chains each row to the one before. Ids are found by `store.index`, not by a B-tree here."""

snapshot = Table(
    "snapshot",
    metadata,
    Column("seq", _SEQ, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
"""States that replay may start from, each bound to the chain by the hash of its record."""

setting = Table(
    "setting",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
registry = Table(
    "registry",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("saved_at_ns", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
)


def ddl(dialect: Dialect) -> list[str]:
    """Return the statements that make the whole schema in a dialect."""
    statements = [
        str(CreateTable(table, if_not_exists=True).compile(dialect=dialect)) for table in metadata.sorted_tables
    ]
    indexes = sorted((index for table in metadata.sorted_tables for index in table.indexes), key=lambda i: str(i.name))
    return statements + [str(CreateIndex(index, if_not_exists=True).compile(dialect=dialect)) for index in indexes]
