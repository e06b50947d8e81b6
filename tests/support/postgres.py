"""Run a PostgreSQL server for tests: start, stop, restart it, and look at its connections."""

import os
import pwd
import shutil
import signal
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from gevent.subprocess import DEVNULL, STDOUT, Popen, run

from tests.support.die_with_parent import lead_session_and_die_with_parent
from tests.support.eventually import wait_until

# Debian keeps the programs for servers out of PATH, those of each major version in a directory of its own.
DEBIAN_PROGRAMS = Path("/usr/lib/postgresql")
HOW_TO_INSTALL = "run `sh scripts/install-postgresql`, or `make test`, which does"
# Whom Debian's package makes; PostgreSQL refuses to run as root.
ACCOUNT = "postgres"
USER = "amphora"
START_TIMEOUT = 60.0

CONFIG = {
    # Only the socket in its own directory: no port, nothing for other users of the machine.
    "listen_addresses": "",
    "max_connections": "300",
    # Nothing of a test outlives the machine.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "dynamic_shared_memory_type": "mmap",
}


class Postgres:
    """One PostgreSQL server with data and a Unix socket in a directory of its own; nothing runs before `start`.

    It keeps its address over restarts. One that is still running when the test process ends, ends with it.
    """

    def __init__(self) -> None:
        # Not pytest's own temporary directory: only its owner may enter that one.
        self.directory = Path(tempfile.mkdtemp(prefix="amphora-postgres-"))
        self._as_account: dict[str, Any] = {}
        if os.getuid() == 0:
            account = pwd.getpwnam(ACCOUNT)
            os.chown(self.directory, account.pw_uid, account.pw_gid)
            self._as_account = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self._data = self.directory / "data"
        self._process: Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<Postgres {self.directory} {'running' if self.running else 'stopped'}>"

    @property
    def host(self) -> str:
        """The directory of its socket, which clients take in place of a host name; databases are their users' own."""
        return str(self.directory)

    @property
    def running(self) -> bool:
        """Whether the server's process lives."""
        return self._process is not None and self._process.poll() is None

    # Life and death.

    def start(self) -> None:
        """Start the server and return when it lets clients in; no-op when it runs."""
        if self.running:
            return
        if not self._data.exists():
            self._make_data()
        options = [part for name, value in CONFIG.items() for part in ("-c", f"{name}={value}")]
        with (self.directory / "log").open("ab") as log:
            self._process = Popen(
                [_program("postgres"), "-D", self._data, "-k", self.directory, *options],
                cwd=self.directory,
                stdin=DEVNULL,
                stdout=log,
                stderr=STDOUT,
                preexec_fn=lead_session_and_die_with_parent,
                **self._as_account,
            )
        wait_until(self._answers, START_TIMEOUT, f"{self} lets clients in; its log:\n{self.log()}")

    def stop(self) -> None:
        """Stop the server at once but in good order: it tells its clients that it ends."""
        if self._process is not None:
            if self.running:
                # A "fast shutdown": it does not wait until the clients have gone.
                os.kill(self._process.pid, signal.SIGINT)
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stop the server and start it with its data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End the server and remove its data."""
        if self._process is not None and self.running:
            os.kill(self._process.pid, signal.SIGQUIT)
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    # Talking to it.

    def create_database(self, name: str) -> None:
        """Create an empty database."""
        self.query(f'CREATE DATABASE "{name}"')

    def query(self, sql: str, *parameters: object, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement of SQL on a connection of its own, and return its rows."""
        options: dict[str, Any] = {"host": self.host, "user": USER, "dbname": database, "application_name": "tests"}
        with psycopg.connect(**options, autocommit=True, connect_timeout=10) as connection:
            cursor = connection.execute(sql.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def connections(self, database: str) -> int:
        """Count the open connections to a database."""
        ((count,),) = self.query("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", database)
        return int(count)

    def log(self) -> str:
        """Return the end of what the server logged."""
        log = self.directory / "log"
        return log.read_text(errors="replace")[-5000:] if log.exists() else ""

    def _make_data(self) -> None:
        options = ["-U", USER, "--auth=trust", "--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C"]
        with (self.directory / "log").open("ab") as log:
            done = run(
                [_program("initdb"), "-D", str(self._data), *options],
                cwd=self.directory,
                stdin=DEVNULL,
                stdout=log,
                stderr=STDOUT,
                check=False,
                **self._as_account,
            )
        if done.returncode != 0:
            raise RuntimeError(f"initdb failed ({done.returncode}):\n{self.log()}")

    def _answers(self) -> bool:
        if not self.running:
            raise RuntimeError(f"{self} has ended:\n{self.log()}")
        with suppress(psycopg.OperationalError):
            self.query("SELECT 1")
            return True
        return False


def _program(name: str) -> str:
    """Find one of PostgreSQL's programs, of the newest version that Debian has installed."""
    installed = sorted(DEBIAN_PROGRAMS.glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    found = str(installed[-1]) if installed else shutil.which(name)
    if found is None:
        raise RuntimeError(f"PostgreSQL's {name} is not installed: {HOW_TO_INSTALL}")
    return found
