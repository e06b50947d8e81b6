"""A throwaway RabbitMQ node on free ports, with its data in a temporary directory."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import amqp
import psutil

# Debian's `rabbitmq-server` on the PATH is a wrapper that changes the user and drops the environment:
# the script behind it is looked for first.
_SERVER_SCRIPTS = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")
_START_TIMEOUT = 60.0


class BrokerNotStarted(Exception):
    """RabbitMQ is not installed or did not answer; the text says which, with the end of its log."""


class Broker:
    """A RabbitMQ node of its own, started by `with` and gone with all it wrote afterwards.

    It has its own EPMD, cookie and ports, so that another broker on the machine neither sees it nor is
    touched. Nothing but 127.0.0.1 is listened on.
    """

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="amphora-bench-broker-"))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._command: list[str] = []
        self._environment: dict[str, str] = {}
        self.port, self._epmd_port, self._distribution_port = _free_ports(3)
        self.version = "unknown"

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    @property
    def pid(self) -> int:
        """The node's first process; the Erlang VM is among its children."""
        return self._processes[-1].pid

    @property
    def data(self) -> Path:
        """The directory with all that the node stores."""
        return self._directory / "mnesia"

    def __enter__(self) -> Broker:
        # Python would die of SIGTERM without leaving the `with` block, and the node would stay.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def delete_queue(self, name: str) -> None:
        """Delete the queue with all that is in it; one that does not exist is fine (RabbitMQ says so)."""
        with amqp.Connection(f"127.0.0.1:{self.port}") as connection:
            connection.channel().queue_delete(name)

    def close_connections(self) -> None:
        """Close every AMQP connection, as an administrator does."""
        script = shutil.which("rabbitmqctl", path=f"{Path(self._command[0]).parent}{os.pathsep}{os.environ['PATH']}")
        if script is None:
            raise BrokerNotStarted("rabbitmqctl was not found beside rabbitmq-server")
        command = [script, "--quiet", "close_all_connections", "closed by the benchmark"]
        subprocess.run(command, env=self._environment, stdin=subprocess.DEVNULL, capture_output=True, check=True)

    def restart(self) -> None:
        """Kill the node and start it again, with its data and its port; EPMD goes on."""
        _kill_tree(self._processes.pop())
        self._spawn(self._command, self._environment)
        self._wait_for_handshake()

    def stop(self) -> None:
        """Kill the node (its data is worthless) and remove its directory. Can be called twice."""
        for process in self._processes:
            _kill_tree(process)
        self._processes.clear()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _start(self) -> None:
        chosen = os.environ.get("AMPHORA_RABBITMQ")
        scripts = _SERVER_SCRIPTS if not chosen else (str(Path(chosen) / "rabbitmq-server"),)
        script = next(filter(None, map(shutil.which, scripts)), None)
        epmd = shutil.which("epmd")
        if script is None or epmd is None:
            raise BrokerNotStarted(
                "RabbitMQ is not installed: no rabbitmq-server or no epmd was found. "
                "On Debian or Ubuntu: apt-get install rabbitmq-server"
            )
        (self._directory / "plugins").write_text("[].\n")
        environment = os.environ | {
            "HOME": str(self._directory),
            "ERL_CRASH_DUMP": str(self._directory / "erl_crash.dump"),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"amphora-bench-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self._directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self._directory),
            "RABBITMQ_LOGS": str(self._directory / "node.log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._directory / "plugins"),
            # Settings of a broker that is installed on the machine are not ours.
            "RABBITMQ_CONF_ENV_FILE": str(self._directory / "none.conf"),
            "RABBITMQ_CONFIG_FILE": str(self._directory / "none"),
        }
        self._spawn([epmd, "-port", str(self._epmd_port)], environment)
        self._command, self._environment = [script], environment
        self._spawn(self._command, self._environment)
        self.version = self._wait_for_handshake()

    def _spawn(self, command: list[str], environment: dict[str, str]) -> None:
        with (self._directory / "output.log").open("ab") as output:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the benchmark, which then stops the node itself
            )
        self._processes.append(process)

    def _wait_for_handshake(self) -> str:
        """Wait until a client can open a connection, and return the broker's version."""
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            if self._processes[-1].poll() is not None:
                raise BrokerNotStarted(f"RabbitMQ ended while starting.\n{self._last_output()}")
            try:
                with amqp.Connection(f"127.0.0.1:{self.port}", connect_timeout=5) as connection:
                    return str(connection.server_properties["version"])
            except OSError:
                time.sleep(0.2)
        raise BrokerNotStarted(f"RabbitMQ gave no answer in {_START_TIMEOUT:g} s.\n{self._last_output()}")

    def _last_output(self) -> str:
        return (self._directory / "output.log").read_text(errors="replace")[-2000:]


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; all are held at once, so that no two are the same."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [listener.getsockname()[1] for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    try:
        tree = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        tree = []
    process.kill()
    for child in tree:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()
    psutil.wait_procs(tree, timeout=10)
