"""The schema of the record as SQLite reads it: what `schema.ddl` makes for that dialect, written out.

Making it anew at each start would load SQLAlchemy, a third of a second for text that never changes; a test holds the
two against each other.
"""

from __future__ import annotations

from tieline.store.rows import Connection

STATEMENTS = (
    """CREATE TABLE IF NOT EXISTS record (
        seq INTEGER NOT NULL,
        id TEXT NOT NULL,
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        recorded_at_ns BIGINT NOT NULL,
        caused_by BLOB NOT NULL,
        body BLOB NOT NULL,
        hash BLOB NOT NULL,
        PRIMARY KEY (seq)
    )""",
    """CREATE TABLE IF NOT EXISTS registry (
        version INTEGER NOT NULL,
        saved_at_ns BIGINT NOT NULL,
        digest TEXT NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (version)
    )""",
    """CREATE TABLE IF NOT EXISTS setting (
        name TEXT NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (name)
    )""",
    """CREATE TABLE IF NOT EXISTS snapshot (
        seq INTEGER NOT NULL,
        hash BLOB NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (seq)
    )""",
    "CREATE INDEX IF NOT EXISTS record_subject ON record (subject, recorded_at_ns)",
)


def bring_up(db: Connection) -> None:
    """Drop what a file of the first schema has and today's lacks: all of it follows from the records."""
    if "key" not in {row[1] for row in db.execute("PRAGMA table_info(record)")}:
        return
    for statement in ("BEGIN IMMEDIATE", "DROP INDEX IF EXISTS record_key", "ALTER TABLE record DROP COLUMN key",
                      "DROP TABLE IF EXISTS cause", "COMMIT"):  # fmt: skip
        db.execute(statement)
