"""The broker of a demonstration: the one that is there, or a node of its own that leaves nothing behind."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

#: Debian keeps the program that any user may run here; that in /usr/sbin is for the system's own broker.
DEBIAN = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
HOST = "127.0.0.1"
USUAL_BROKER = f"amqp://guest:guest@{HOST}:5672//"


class NoBroker(Exception):
    """There is no broker for the demonstration; the text says why, and what to do."""

    def __str__(self):
        return (
            f"{self.args[0]}.\n"
            "Is RabbitMQ running, and is BROKER_URL right (amqp://user:password@host:port/vhost)?\n"
            "Without BROKER_URL the broker of this machine is taken, or one is started if RabbitMQ is installed:\n"
            "sh scripts/install-rabbitmq"
        )


@contextmanager
def broker_for(demonstration):
    """Give the URL of BROKER_URL's broker, of this machine's, or of one that is started and ends with the block.

    Raises:
        NoBroker: There is none, and it cannot be started.
    """
    url = os.environ.get("BROKER_URL")
    if url or listens(5672):
        yield url or USUAL_BROKER
        return
    if program() is None:
        raise NoBroker(f"no broker answered at {HOST}:5672, and RabbitMQ is not installed here")
    print(
        f"No broker answered at {HOST}:5672, and BROKER_URL names none: starting a RabbitMQ for {demonstration}",
        flush=True,
    )
    own = OwnRabbitMQ()
    try:
        if not own.wait_started():
            raise NoBroker(f"RabbitMQ did not start; it wrote:\n{own.output()}")
        yield own.url
    finally:
        own.close()


def program():
    """Return the path of rabbitmq-server, or None where it is not installed."""
    return str(DEBIAN) if DEBIAN.exists() else shutil.which("rabbitmq-server")


def listens(port):
    """Return whether something takes connections at a port of this machine."""
    try:
        socket.create_connection((HOST, port), timeout=5).close()
    except OSError:
        return False
    return True


class OwnRabbitMQ:
    """Starts a node, and ends it with `close()`; `url` is where it will answer."""

    def __init__(self):
        self._folder = Path(tempfile.mkdtemp(prefix="amphora-example-"))
        port, distribution, mapper = _free_ports(3)
        self.url = f"amqp://guest:guest@{HOST}:{port}//"
        (self._folder / "rabbitmq.conf").write_text("disk_free_limit.absolute = 1MB\n")
        (self._folder / "rabbitmq-env.conf").touch()
        (self._folder / "plugins").write_text("[].\n")
        environment = {
            **os.environ,
            "HOME": str(self._folder),
            "ERL_EPMD_PORT": str(mapper),
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_CRASH_DUMP": str(self._folder / "crash"),
            "RABBITMQ_NODENAME": f"amphora-example-{os.getpid()}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self._folder / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
            "RABBITMQ_LOG_BASE": str(self._folder / "logs"),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            # The start script becomes the node, instead of a shell that waits for it; Ctrl+C is not for the node.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput +B i",
        }
        self._port = port
        self._output = self._folder / "output"
        with self._output.open("wb") as output:
            # Erlang's name service would outlive the node that starts it.
            self._mapper = subprocess.Popen(
                [shutil.which("epmd") or "epmd", "-port", str(mapper), "-address", HOST],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            self._node = subprocess.Popen(
                [program()],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def wait_started(self, timeout=60):
        """Wait until it takes connections.

        Returns:
            Whether it does; it has ended if not, or takes longer than so many seconds.
        """
        deadline = time.monotonic() + timeout
        while not listens(self._port):
            if self._node.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    def output(self):
        """Return what it wrote."""
        return self._output.read_text(errors="replace")

    def close(self):
        """End the node, and remove all that it kept."""
        self._node.terminate()
        try:
            self._node.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._node.kill()
        self._mapper.kill()
        self._mapper.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _free_ports(count):
    """Find ports that are free."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
