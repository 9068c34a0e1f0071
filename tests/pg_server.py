"""A PostgreSQL server of a test's own: a folder, a socket in it, and a port of 127.0.0.1 that wants a password."""

import shutil
import subprocess
from pathlib import Path

from ports import free_port

BIN = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), Path("none"))
IS_THERE = (BIN / "initdb").exists() and shutil.which("runuser") is not None
PASSWORD = "hu#nter'2 %s"


class PgServer:
    """A server that can be started, stopped and killed."""

    def __init__(self, folder: str) -> None:
        """Make its folder; `start` starts it."""
        self.folder = folder
        shutil.chown(folder, "postgres")
        self.port = free_port()
        self.run("initdb", "-D", f"{folder}/db", "-A", "trust", "-N")
        (Path(folder) / "db" / "pg_hba.conf").write_text(
            "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n", encoding="ascii"
        )

    def run(self, tool: str, *words: str) -> None:
        """Run one of its tools as the user that owns it."""
        command = ["runuser", "-u", "postgres", "--", str(BIN / tool), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60, cwd="/")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -k {self.folder}"
        self.run("pg_ctl", "-D", f"{self.folder}/db", "-w", "-l", f"{self.folder}/log", "-o", options, "start")

    def stop(self, mode: str) -> None:
        """Stop it: `immediate` is as after a kill."""
        self.run("pg_ctl", "-D", f"{self.folder}/db", "-w", "-m", mode, "stop")

    def end(self) -> None:
        """Stop it for good, if it still runs."""
        if (Path(self.folder) / "db" / "postmaster.pid").exists():
            self.stop("immediate")

    @property
    def url(self) -> str:
        """By its socket, as its superuser."""
        return f"postgresql://postgres:secret@/postgres?host={self.folder}&port={self.port}"

    @property
    def url_of_user(self) -> str:
        """By its port, as the user `tieline`, who needs `PASSWORD`."""
        return f"postgresql+psycopg://tieline@127.0.0.1:{self.port}/tieline"

    def renew(self) -> None:
        """Make the user `tieline` and an empty database of that name."""
        import psycopg
        from psycopg import sql

        with psycopg.connect(self.url, autocommit=True) as db:
            db.execute("DROP DATABASE IF EXISTS tieline WITH (FORCE)")
            db.execute("DROP ROLE IF EXISTS tieline")
            db.execute(sql.SQL("CREATE ROLE tieline LOGIN PASSWORD {}").format(sql.Literal(PASSWORD)))
            db.execute("CREATE DATABASE tieline OWNER tieline")
