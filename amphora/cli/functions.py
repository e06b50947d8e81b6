"""``amphora functions``: list what a service can do."""

from __future__ import annotations

import fnmatch
import inspect

import gevent

from amphora import RemoteFunction, stub_of
from amphora.cli.exit_codes import Failed, NoAnswer
from amphora.cli.output import print_indented, print_json, print_line, print_lines
from amphora.cli.services import TargetService
from amphora.logs.remote_text import printable

__all__ = ["run"]


def run(
    service: TargetService, pattern: str | None, timeout: float, servers: int | None, stub: bool, as_json: bool
) -> None:
    """List the functions of the service NS: names, signatures, docstrings."""
    with service.connected() as client:
        # Besides, it tells clocks that differ.
        pinging = gevent.spawn(client.inspect.ping, timeout=timeout, limit=servers)
        found = client.inspect.functions(timeout=timeout, limit=servers)
        if not pinging.get() and not found:
            raise NoAnswer(
                f"no server of service {service.name!r} has answered within {timeout:g} s: none is there, or none that "
                "tells what it can do"
            )
    chosen = [each for name, each in found.items() if pattern is None or fnmatch.fnmatchcase(name, pattern)]
    if as_json:
        print_json(chosen)
    elif stub and chosen:
        print_lines(stub_of(chosen, service=service.name).removesuffix("\n"))
    else:
        answered = len({uuid for each in found.values() for uuid in each.servers})
        for number, each in enumerate(chosen):
            _print(each, servers=answered, whole=pattern is not None, first=number == 0)
    if not chosen:
        what = "no functions" if pattern is None else f"no function {pattern!r}"
        raise Failed(f"service {service.name!r} has {what}")


def _print(function: RemoteFunction, *, servers: int, whole: bool, first: bool) -> None:
    if whole and not first:
        print_line()
    partial = f"  (on {len(function.servers)} of {servers} servers)" if len(function.servers) < servers else ""
    print_line((function.name, "bold cyan"), function.signature, (partial, "yellow"))
    doc = inspect.cleandoc(function.doc)
    if doc:
        text = doc if whole else doc.partition("\n")[0]
        print_indented(text, 4)
    if whole and function.module:
        print_indented(f"defined in {printable(function.module)}", 4, style="dim")
