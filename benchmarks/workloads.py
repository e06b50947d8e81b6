"""What a client is asked to do, as values that pass through a command line."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Action = Literal["call", "send", "idle"]


@dataclass(frozen=True)
class Workload:
    """One thing to do and how much of it.

    Attributes:
        action: `call` is a request with its reply; `send` a request that is confirmed by the broker while
            no server runs; `idle` does nothing for `count` seconds.
        count: how many calls, sends or seconds are measured.
        size: length of the string that is sent and echoed, in characters (and bytes: it is ASCII).
        in_flight: how many greenlets call at once, each one call after the other.
        warm_up: how many are done beforehand, in the same way but not measured. Calls, if `idle`.
        seconds: no further call is begun after this time, however many of `count` are left; the warm-up has
            a third of it. None for no limit.
    """

    action: Action
    count: int
    size: int = 100
    in_flight: int = 1
    warm_up: int = 100
    seconds: float | None = None

    def to_arguments(self) -> list[str]:
        return [
            f"--action={self.action}",
            f"--count={self.count}",
            f"--size={self.size}",
            f"--in-flight={self.in_flight}",
            f"--warm-up={self.warm_up}",
            *([] if self.seconds is None else [f"--seconds={self.seconds}"]),
        ]


@dataclass(frozen=True)
class ClientArguments:
    """The command line of every peer's client.

    Attributes:
        broker_url: where the broker is.
        workload: what to do.
        watched: further processes (`server`, `broker`) by name, whose CPU time and memory the client
            reads right before and right after what it measures.
        started: when the client's process was started, by the clock of `time.monotonic`, which all
            processes of a machine share.
    """

    broker_url: str
    workload: Workload
    watched: dict[str, int]
    started: float

    def to_arguments(self) -> list[str]:
        watched = [f"--watch={name}={pid}" for name, pid in self.watched.items()]
        return [f"--broker={self.broker_url}", f"--started={self.started}", *watched, *self.workload.to_arguments()]

    @classmethod
    def parse(cls, arguments: Sequence[str] | None = None) -> ClientArguments:
        parser = argparse.ArgumentParser(description="One client of one peer, through one workload.")
        parser.add_argument("--broker", required=True, metavar="URL")
        parser.add_argument("--started", type=float, default=time.monotonic())
        parser.add_argument("--watch", action="append", default=[], metavar="NAME=PID")
        parser.add_argument("--action", choices=["call", "send", "idle"], default="call")
        parser.add_argument("--count", type=int, default=1000)
        parser.add_argument("--size", type=int, default=100)
        parser.add_argument("--in-flight", type=int, default=1)
        parser.add_argument("--warm-up", type=int, default=100)
        parser.add_argument("--seconds", type=float, default=None)
        given = parser.parse_args(arguments)
        workload = Workload(given.action, given.count, given.size, given.in_flight, given.warm_up, given.seconds)
        watched = {name: int(pid) for name, _, pid in (each.partition("=") for each in given.watch)}
        return cls(given.broker, workload, watched, given.started)
