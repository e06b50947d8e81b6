"""Ask a running RabbitMQ node anything in Erlang, within a millisecond.

`rabbitmqctl` boots an Erlang virtual machine for every question, which takes half a second and more; and
AMQP itself cannot list queues or connections. So a test's node runs `node_console.erl`, and this asks it.
"""

import json
import shutil
import struct
from pathlib import Path
from typing import Any

from gevent import socket

SCRIPT = Path(__file__).with_name("node_console.erl")

_LENGTH = struct.Struct(">I")
# Of sockaddr_un.sun_path on Linux, with its closing zero byte.
_LONGEST_PATH = 107


class NodeConsole:
    """The console of one node, at a Unix socket; usable while the node runs."""

    def __init__(self, path: Path) -> None:
        if len(str(path)) > _LONGEST_PATH:
            raise ValueError(f"too long a path for a Unix socket: {path}: set TMPDIR to a shorter directory")
        self.path = path

    def environment(self) -> dict[str, str]:
        """Return the environment variables that the node needs to find its console."""
        # A node of another release sees its own directory, and not that of this file.
        script = self.path.with_name(SCRIPT.name)
        shutil.copy(SCRIPT, script)
        return {"AMPHORA_NODE_CONSOLE": str(script), "AMPHORA_NODE_CONSOLE_SOCKET": str(self.path)}

    @staticmethod
    def erl_arguments() -> str:
        """Return the arguments for `erl` that start the console (no spaces inside: a shell splits there)."""
        return '-eval file:script(os:getenv("AMPHORA_NODE_CONSOLE"))'

    def listens(self) -> bool:
        """Say whether the console answers: it does once the node has booted."""
        try:
            self.evaluate("ok", timeout=5)
        except OSError:
            return False
        return True

    def evaluate(self, expressions: str, timeout: float = 30.0) -> Any:
        """Evaluate Erlang expressions (the final dot may be left out) and return the last one's value.

        Tuples come as lists, atoms and pids as strings, `undefined` as None. A character list comes as
        a list of numbers: let the expression make binaries.

        Raises:
            RuntimeError: the expression failed, with Erlang's error.
            OSError: the node does not run, or did not answer within `timeout` seconds.
        """
        text = expressions.strip().removesuffix(".") + "."
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(str(self.path))
            connection.sendall(_LENGTH.pack(len(text.encode())) + text.encode())
            (length,) = _LENGTH.unpack(_receive(connection, _LENGTH.size))
            outcome, value = json.loads(_receive(connection, length))
        if outcome != "ok":
            raise RuntimeError(f"the node could not evaluate {text!r}: {value}")
        return value


def _receive(connection: socket.socket, length: int) -> bytes:
    """Receive exactly so many bytes."""
    data = bytearray()
    while len(data) < length:
        part = connection.recv(length - len(data))
        if not part:
            raise ConnectionError("the node closed its console")
        data += part
    return bytes(data)
