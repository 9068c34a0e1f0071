"""The journal in PostgreSQL: the same records and the same chain as in SQLite, to the byte.

Theory of operation. One connection appends and holds the advisory lock `WRITER` as long as it lives, so that a database
has one writer. Where the server goes away, every call raises `StoreDown` at once, and `append` connects anew: it takes
the lock again, holds the end of the chain against the one it left, and passes over what the lost commit did keep. A
chain that ends elsewhere (an older backup, another writer) is a `StoreError`: memory is then of another journal.
Readers connect anew only once the writer has, so that none of them waits for a server that isn't there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.dialects import postgresql

from tieline.errors import ConfigError
from tieline.flow.record import Record
from tieline.store.faults import NoJournalYet, RecordFault, StoreDown, StoreError
from tieline.store.head import Head
from tieline.store.journal import SqlJournal
from tieline.store.schema import ddl

WRITER = 0x7469656C696E65
"""Key of the advisory lock of whoever appends: the journal has one writer."""
LOCK_TRIES, LOCK_WAIT_S = 20, 0.1
"""A server that was killed holds its lock until PostgreSQL notices that its socket closed."""
PATIENCE = {
    "connect_timeout": "5", "tcp_user_timeout": "10000", "keepalives_idle": "10", "keepalives_interval": "5",
    "keepalives_count": "3",
}  # fmt: skip
"""Of a connection whose other end vanished without a word: the settings of libpq, unless the URL says otherwise."""

TLS_MODES = frozenset({"require", "verify-ca", "verify-full"})
READ_ONLY = "25006"
"""What a standby says that was not made the new primary yet (PostgreSQL, appendix A)."""

_IS_THERE = "SELECT to_regclass('record')"


class Place:
    """Where a database is, without the password that its address may hold."""

    def __init__(self, url: str, password: str | None = None) -> None:
        """Read a URL.

        Raises:
            ConfigError: No `postgres` extra, or no URL of PostgreSQL; it never shows the URL.
        """
        try:
            import psycopg
            from psycopg.conninfo import conninfo_to_dict
        except ImportError:
            raise ConfigError("database: PostgreSQL needs the extra: pip install 'tieline[postgres]'") from None
        url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        if not url.startswith(("postgresql://", "postgres://")):
            raise ConfigError("database: not a PostgreSQL URL: give postgresql://user@host:port/database")
        try:
            told = {key: str(value) for key, value in conninfo_to_dict(url).items()}
        except psycopg.Error:  # its text would show the whole URL
            raise ConfigError("database: not a URL: give postgresql://user@host:port/database") from None
        self.has_password = "password" in told
        self._told = {**PATIENCE, **told} | ({} if password is None else {"password": password})
        hosts = (told.get("hostaddr") or told.get("host", "")).split(",")
        self.hosts = [host for host in hosts if host[:1] not in "/@"]
        """Where it is reached over a network; none: by a socket of this machine."""
        self.wants_tls = told.get("sslmode", os.environ.get("PGSSLMODE", "prefer")) in TLS_MODES
        """Whether nothing goes there but over TLS; `prefer`, libpq's own, falls back to the clear."""
        self.name = f"postgresql://{told.get('host', 'localhost')}:{told.get('port', 5432)}/{told.get('dbname', '')}"

    def connect(self) -> Any:
        """Return a connection. Raises psycopg.Error."""
        import psycopg

        db = psycopg.connect("", autocommit=True, **self._told)  # type: ignore[arg-type]
        db.execute("SET synchronous_commit = on")  # a database may be set to acknowledge before it is durable
        return db

    def says(self, error: Exception) -> str:
        """Return what an error says, in one line and without the password."""
        text = " ".join(str(error).split())
        password = self._told.get("password")
        return text.replace(password, "***") if password else text


class _Connection:
    """What the journal needs of a connection, over psycopg's: `?` marks a binding there as in SQLite."""

    def __init__(self, place: Place, make: Callable[[], Any], may_connect: Callable[[], bool]) -> None:
        self._place, self._make, self._may_connect = place, make, may_connect
        self._db = make()

    @property
    def is_lost(self) -> bool:
        """Whether the server went away, or we left it."""
        return bool(self._db.closed)

    def connect(self) -> None:
        """Connect anew. Raises StoreDown: not yet."""
        import psycopg

        try:
            self._db = self._make()
        except psycopg.Error as error:
            raise StoreDown(f"{self._place.name}: {self._place.says(error)}") from None

    def execute(self, sql: str, bindings: Sequence[Any] = (), /) -> Any:
        return self._run(lambda db: db.execute(sql.replace("?", "%s"), bindings))

    def executemany(self, sql: str, bindings: Iterable[Sequence[Any]], /) -> Any:
        def run(db: Any) -> None:
            with db.cursor() as cursor:
                cursor.executemany(sql.replace("?", "%s"), bindings)

        self._run(run)

    def _run(self, act: Callable[[Any], Any]) -> Any:
        import psycopg

        if self.is_lost:
            if not self._may_connect():
                raise StoreDown(f"{self._place.name}: the database is away")
            self.connect()
        try:
            return act(self._db)
        except psycopg.Error as error:
            if _is_content(error):
                raise RecordFault(f"{self._place.name}: {self._place.says(error)}") from None
            if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)) or _ends(error):
                self._db.close()  # a server that says goodbye is still there for an instant
                raise StoreDown(f"{self._place.name}: {self._place.says(error)}") from None
            raise

    def close(self) -> None:
        self._db.close()


def _is_content(error: Any) -> bool:
    """Return whether an error is of what was given: each try would end so, and the database is there.

    Appendix A, class 22: data exception; class 54: program limit exceeded, which psycopg calls operational. NUL is
    refused by psycopg itself, with no code.
    """
    import psycopg

    return isinstance(error, psycopg.DataError) or (error.sqlstate or "").startswith("54")


def _ends(error: Any) -> bool:
    """Return whether the server ends the session by an error, or is one that can't be written to yet."""
    return error.sqlstate == READ_ONLY or error.diag.severity_nonlocalized in ("FATAL", "PANIC")


class PostgresJournal(SqlJournal):
    """A journal in a PostgreSQL database; index and head stand in a folder, as beside a file."""

    def __init__(
        self,
        url: str,
        folder: Path | None = None,
        password: str | None = None,
        *,
        writer: PostgresJournal | None = None,
        reads_only: bool = False,
    ) -> None:
        """Connect, and make the schema where it is missing.

        Args:
            url: `postgresql://user@host:port/database`.
            folder: Where index and head are kept; None: in memory alone.
            password: Of the user; None: as the URL or libpq's own environment says. No error shows it.
            writer: Of a connection that reads beside it: the one that appends.
            reads_only: Whether nothing is appended, nor made where it is missing.

        Raises:
            ConfigError: A wrong URL, no server there, no `postgres` extra, another server appends there, or, for one
                that only reads, no journal is there.
        """
        place = Place(url, password)
        import psycopg

        self._how, self._place, self._folder = (url, folder, password), place, folder
        self._doubt: frozenset[str] = frozenset()
        may_append = writer is None and not reads_only
        make = self._as_writer if may_append else place.connect
        name = place.name
        try:
            self._line = _Connection(place, make, lambda: writer is not None and not writer._line.is_lost)
            _require_unicode(place, next(iter(self._line.execute("SHOW server_encoding")))[0])
            if may_append:
                for statement in ddl(postgresql.dialect()):  # type: ignore[no-untyped-call]
                    self._line.execute(statement)
            else:
                _require_journal(place, next(iter(self._line.execute(_IS_THERE)))[0])
            head = None if folder is None else Head(folder / "journal.head")
            super().__init__(name, self._line, None if folder is None else folder / "journal.index", head)
        except (psycopg.Error, StoreDown) as error:
            raise ConfigError(f"{name}: {place.says(error)}") from None

    def _as_writer(self) -> Any:
        """Return a connection that holds the writer's lock."""
        import psycopg

        db = self._place.connect()
        for _ in range(LOCK_TRIES):
            if db.execute("SELECT pg_try_advisory_lock(%s)", (WRITER,)).fetchone()[0]:
                return db
            time.sleep(LOCK_WAIT_S)
        db.close()
        raise psycopg.OperationalError("another server appends there: stop it, or give another database")

    def append(self, records: Iterable[Record]) -> int:
        """Make the records durable, all or none, and return the number of the last.

        Raises:
            StoreDown: The server is away: whether they were kept shows when the same call is made again.
            StoreError: Nothing was acknowledged, or the journal there is not the one that we left.
        """
        batch = list(records)
        if self._line.is_lost:
            self._line.connect()
            self._go_on()
        try:
            seq = super().append(batch)
        except StoreDown:
            self._doubt = frozenset(record.id for record in batch)
            raise
        self._doubt = frozenset()
        return seq

    def _go_on(self) -> None:
        """Find the end of the chain again. Raises StoreError where it isn't ours any more."""
        if not self.knows(self.end):
            self._line.close()
            raise StoreError(
                f"{self.name}: record {self.last_seq} is not there as it was written: restore the database"
            )
        sql = "SELECT seq, id, hash FROM record WHERE seq>? ORDER BY seq"
        for seq, name, last in self._line.execute(sql, (self.last_seq,)):
            if name not in self._doubt:
                self._line.close()
                raise StoreError(f"{self.name}: another server appended record {seq}: restart to replay it")
            self.end = int(seq), bytes(last)

    def reader(self) -> PostgresJournal:
        """Return another connection to the same records."""
        url, folder, password = self._how
        return PostgresJournal(url, folder, password, writer=self)


def _require_unicode(place: Place, encoding: str | bytes) -> None:
    """Refuse a database that can't keep each character. Raises ConfigError."""
    name = encoding.decode() if isinstance(encoding, bytes) else encoding
    if name != "UTF8":
        raise ConfigError(f"{place.name}: its encoding is {name}: make the database with ENCODING 'UTF8'")


def _require_journal(place: Place, found: object) -> None:
    """Refuse a database in which no server has made a journal. Raises NoJournalYet."""
    if found is None:
        raise NoJournalYet(f"{place.name}: holds no journal yet: `tieline serve` makes it")
