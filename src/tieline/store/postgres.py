"""The journal in PostgreSQL: the same records and the same chain as in SQLite, to the byte."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.dialects import postgresql

from tieline.errors import ConfigError
from tieline.store.head import Head
from tieline.store.journal import SqlJournal
from tieline.store.schema import ddl

WRITER = 0x7469656C696E65
"""Key of the advisory lock of whoever appends: the journal has one writer."""


class _Connection:
    """What the journal needs of a connection, over psycopg's: `?` marks a binding there as in SQLite."""

    def __init__(self, db: Any) -> None:
        self._db = db

    def execute(self, sql: str, bindings: Sequence[Any] = (), /) -> Any:
        return self._db.execute(sql.replace("?", "%s"), bindings)

    def executemany(self, sql: str, bindings: Iterable[Sequence[Any]], /) -> Any:
        with self._db.cursor() as cursor:
            cursor.executemany(sql.replace("?", "%s"), bindings)

    def close(self) -> None:
        self._db.close()


class PostgresJournal(SqlJournal):
    """A journal in a PostgreSQL database; index and head stand in a folder, as beside a file."""

    def __init__(self, url: str, folder: Path | None = None, is_reader: bool = False) -> None:
        """Connect, and make the schema where it is missing.

        Args:
            url: `postgresql://user:password@host:port/database`; no error shows its password.
            folder: Where index and head are kept; None: in memory alone.
            is_reader: Whether this connection only reads, beside the one that appends.

        Raises:
            ConfigError: A wrong URL, no server there, no `postgres` extra, or another server appends there.
        """
        try:
            import psycopg
            from psycopg.conninfo import conninfo_to_dict
        except ImportError:
            raise ConfigError("database: PostgreSQL needs the extra: pip install 'tieline[postgres]'") from None
        if not url.startswith(("postgresql://", "postgres://")):
            raise ConfigError("database: not a PostgreSQL URL: give postgresql://user@host:port/database")
        self._url, self._folder = url, folder
        try:
            told = conninfo_to_dict(url)
        except psycopg.Error:  # its text would show the whole URL
            raise ConfigError("database: not a URL: give postgresql://user@host:port/database") from None
        name = f"postgresql://{told.get('host', 'localhost')}:{told.get('port', 5432)}/{told.get('dbname', '')}"
        try:
            raw = psycopg.connect(url, autocommit=True, connect_timeout=10)
            raw.execute("SET synchronous_commit = on")  # a database may be set to acknowledge before it is durable
            if not is_reader:
                row = raw.execute("SELECT pg_try_advisory_lock(%s)", (WRITER,)).fetchone()
                if row is None or not row[0]:
                    raw.close()
                    raise ConfigError(f"{name}: another server appends there: stop it, or give another database")
                for statement in ddl(postgresql.dialect()):  # type: ignore[no-untyped-call]
                    raw.execute(statement.encode())
            index = None if folder is None or is_reader else folder / "journal.index"
            head = None if folder is None else Head(folder / "journal.head")
            super().__init__(name, _Connection(raw), index, head)
        except psycopg.Error as error:
            text = " ".join(str(error).split()).replace(str(told.get("password") or "\0"), "***")
            raise ConfigError(f"{name}: {text}") from None

    def reader(self) -> PostgresJournal:
        """Return another connection to the same records."""
        return PostgresJournal(self._url, self._folder, is_reader=True)
