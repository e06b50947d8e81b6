"""A peer's server and clients as child processes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workloads import ClientArguments, Workload

_HERE = Path(__file__).resolve().parent
_READY = "ready"
_CLIENT_TIMEOUT = 900.0
_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 10.0


class PeerFailed(Exception):
    """A peer's server did not start, or its client failed; the text has the end of what it said."""


def peer_names() -> list[str]:
    """Every folder of `peers/` that has a server and a client."""
    return sorted(path.parent.name for path in _HERE.glob("peers/*/client.py") if path.with_name("server.py").exists())


class Server:
    """One peer's server, running for as long as the `with` block.

    Args:
        peer: its name, a folder of `peers/`.
        broker_url: where the broker is.
        python: the interpreter that has the peer's packages; by default the present one.
        module: the module of the peer that is run, if not `server`.
        role: what goes on its command line before the broker's URL, if anything.
        arguments: what else goes on its command line.

    Attributes:
        seconds_to_ready: from the start of the process until it could serve.
    """

    def __init__(
        self,
        peer: str,
        broker_url: str,
        *,
        python: str = sys.executable,
        module: str = "server",
        role: str | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self._peer = peer
        self._started = time.perf_counter()
        self.seconds_to_ready = 0.0
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the process
        self._process = subprocess.Popen(
            [python, "-m", f"peers.{peer}.{module}", *([] if role is None else [role]), broker_url, *arguments],
            cwd=_HERE,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Server:
        """Wait until the server says that it is ready.

        Raises:
            PeerFailed: It ended before, or was not ready within a minute.
        """
        assert self._process.stdout is not None
        give_up = threading.Timer(_START_TIMEOUT, self._process.kill)  # which ends its output
        give_up.start()
        try:
            for line in self._process.stdout:
                if line.strip() == _READY:
                    self.seconds_to_ready = time.perf_counter() - self._started
                    return self
        finally:
            give_up.cancel()
        self.stop()
        self._errors.seek(0)
        raise PeerFailed(f"{self._peer}: the server did not start\n{self._errors.read().decode()[-3000:]}")

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True)
class Measurement:
    """What one client measured.

    Attributes:
        since_start: seconds from the start of the client's process to the end of the workload.
        seconds: how long the whole workload took.
        count: how many calls or sends (or seconds, if idle) it had.
        p50_ms: median time of one of them, in milliseconds.
        p99_ms: its 99th percentile.
        usage: what each process (`client`, `server`, `broker`) used: see `peers.usage.Usage`.
        versions: of the packages that matter for the peer.
        guarantees: what the peer promises.
        request_queue: where its sends are left.
    """

    since_start: float
    seconds: float
    count: int
    p50_ms: float
    p99_ms: float
    usage: dict[str, dict[str, float]]
    versions: dict[str, str]
    guarantees: str
    request_queue: str

    @property
    def per_second(self) -> float:
        return self.count / self.seconds


def run_client(
    peer: str,
    broker_url: str,
    workload: Workload,
    watched: dict[str, int],
    *,
    python: str = sys.executable,
    timeout: float = _CLIENT_TIMEOUT,
) -> Measurement:
    """Run a client of the peer through the workload.

    Args:
        peer: its name, a folder of `peers/`.
        broker_url: where the broker is.
        workload: what it does.
        watched: see `ClientArguments`.
        python: the interpreter that has the peer's packages; by default the present one.
        timeout: seconds for all of it; by default a quarter of an hour.

    Raises:
        PeerFailed: It failed, or took longer than the timeout.
    """
    arguments = ClientArguments(broker_url, workload, watched, time.monotonic()).to_arguments()
    result: dict[str, Any] = json.loads(run_module(peer, "client", arguments, python=python, timeout=timeout))
    return Measurement(**result)


def run_module(
    peer: str,
    module: str,
    arguments: Sequence[str],
    *,
    python: str = sys.executable,
    timeout: float = _CLIENT_TIMEOUT,
) -> str:
    """Run a module of the peer to its end, and return the last line that it printed.

    Raises:
        PeerFailed: It failed, printed nothing or took longer than the timeout.
    """
    try:
        done = subprocess.run(
            [python, "-m", f"peers.{peer}.{module}", *arguments],
            cwd=_HERE,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise PeerFailed(f"{peer}: the {module} did not end in {timeout:g} s") from error
    except subprocess.CalledProcessError as error:
        raise PeerFailed(f"{peer}: the {module} failed\n{error.stderr[-3000:]}") from error
    lines = done.stdout.splitlines()
    if not lines:
        raise PeerFailed(f"{peer}: the {module} printed nothing\n{done.stderr[-3000:]}")
    return lines[-1]
