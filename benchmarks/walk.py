"""Traces one call over `memory://`, with client and server in this process: which functions of Amphora are entered.

The walk begins in the caller's greenlet and ends when nothing of the call is left: the reply is there, and both sides
have acknowledged. What is counted are calls of functions in Python, of both sides together, without those that the
in-memory broker stands in for a socket with (``--driver`` counts them too).
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import gevent
import greenlet

import amphora

_PACKAGE = Path(amphora.__file__).parent
_DRIVER = "driver/"


class Step(NamedTuple):
    """A function that was entered: its file in the package, its name, and how deep among others of Amphora it was."""

    file: str
    function: str
    depth: int


def main() -> int:
    """Print the walk of one call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", action="store_true", help="print every function, indented, in order")
    parser.add_argument("--driver", action="store_true", help="count the driver's functions too")
    options = parser.parse_args()
    server = amphora.AmqpRpcServer("walk", broker_url="memory://")
    server.add_function(_echo, "echo")
    server.serve()
    client = amphora.AmqpRpcClient("walk", timeout=5, broker_url="memory://")
    for _ in range(3):
        client.call.echo("warm-up")
    _settle()
    with _traced() as steps:
        client.call.echo("traced")
        _settle()
    client.stop()
    server.stop()
    counted = [step for step in steps if options.driver or not step.file.startswith(_DRIVER)]
    print(_table(counted))
    if options.steps:
        print("\n".join(f"{'  ' * step.depth}{step.file}: {step.function}" for step in counted))
    return 0


def _echo(text: str) -> str:
    return text


def _settle() -> None:
    """Let both sides do what is left to do, such as acknowledging."""
    for _ in range(20):
        gevent.sleep(0)


@contextmanager
def _traced() -> Iterator[list[Step]]:
    """Note every function of the package that is entered, in whichever greenlet."""
    steps: list[Step] = []
    depths: Counter[int] = Counter()
    files: dict[str, str | None] = {}

    def profile(frame: FrameType, event: str, _: Any) -> None:
        if event not in ("call", "return"):
            return
        name = frame.f_code.co_filename
        if name not in files:
            path = Path(name)
            files[name] = path.relative_to(_PACKAGE).as_posix() if path.is_relative_to(_PACKAGE) else None
        file = files[name]
        if file is None:
            return
        # (A reference to the greenlet itself would keep the pool from using it again.)
        current = id(greenlet.getcurrent())
        if event == "call":
            steps.append(Step(file, frame.f_code.co_qualname, depths[current]))
            depths[current] += 1
        else:
            depths[current] = max(0, depths[current] - 1)

    # The profile function belongs to a greenlet's frames: it is set again wherever another one goes on.
    def switched(*_: Any) -> None:
        sys.setprofile(profile)

    greenlet.settrace(switched)
    sys.setprofile(profile)
    try:
        yield steps
    finally:
        greenlet.settrace(None)
        sys.setprofile(None)


def _table(steps: list[Step]) -> str:
    files = Counter(step.file for step in steps)
    rows = "\n".join(
        f"{number:5} {file}" for file, number in sorted(files.items(), key=lambda item: (-item[1], item[0]))
    )
    return f"{len(steps)} function calls in {len(files)} files\n{rows}"


if __name__ == "__main__":
    sys.exit(main())
