"""``amphora serve``: serve servers that a program has made."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import gevent

from amphora import AmqpRpcServer, BrokerError, Serving, __version__, override_arguments
from amphora.cli.exit_codes import BadArguments, Failed, NotSent
from amphora.cli.output import print_lines
from amphora.cli.probes import Probes
from amphora.cli.service_options import BROKER_VARIABLE
from amphora.cli.services import TargetService
from amphora.cli.supervisor import SLOT_VARIABLE, Supervisor, child_command
from amphora.cli.supervisor_pipe import ParentLine
from amphora.cli.targets import load_server
from amphora.cli.tls import TlsOptions
from amphora.cli.wording import with_options_named
from amphora.contrib.django.databases import look_after_databases

__all__ = ["run"]

#: Tells a process of a supervisor that the broker in its environment was given by hand.
_BY_HAND = "AMPHORA_SERVE_BROKER_BY_HAND"


def run(
    context: click.Context,
    targets: tuple[str, ...],
    labels: tuple[str, ...],
    concurrency: int | None,
    max_received_size: int | None,
    grace: float,
    processes: int,
    reloads: bool,
    directories: tuple[Path, ...],
    metrics_port: int | None,
    metrics_host: str,
    broker: str | None,
    log_level: str,
) -> None:
    """Serve TARGET, or several of them, until it is stopped."""
    if labels and len(targets) > 1:
        raise BadArguments("--queue goes with one TARGET: start another `amphora serve` for the others")
    ssl = TlsOptions.of(context)
    if broker is not None:
        # Made for its checks: a mistake in the URL is to be said now, not from within the program.
        TargetService("any", broker_url=broker, ssl=ssl.for_brokers(broker)).dead_letters()
    if directories and not reloads:
        raise BadArguments("--reload-dir goes with --reload")
    if metrics_port is not None and metrics_port + processes > 65536:
        raise BadArguments(f"--metrics-port: {processes} processes need as many ports, and there are 65535")
    if processes > 1 or reloads:
        arguments = _arguments_of_child(targets, labels, concurrency=concurrency, grace=grace, log_level=log_level)
        if metrics_port is not None:
            arguments[1:1] = [f"--metrics-port={metrics_port}", f"--metrics-host={metrics_host}"]
        if max_received_size is not None:
            arguments[1:1] = [f"--max-received-size={max_received_size}"]
        arguments[1:1] = ssl.arguments()
        env = {} if broker is None else {BROKER_VARIABLE: broker, _BY_HAND: "1"}
        _supervise(arguments, env, processes=processes, grace=grace, directories=directories, reloads=reloads)
        return
    by_hand = os.environ.pop(_BY_HAND, None) is not None
    default = os.environ.get(BROKER_VARIABLE) or None
    if by_hand:
        broker, default = default, None
    probes_at = None if metrics_port is None else (metrics_host, metrics_port + int(os.environ.get(SLOT_VARIABLE, "0")))
    # Not only while they are made here: functions may make clients later.
    with override_arguments(
        broker_url=broker,
        default_broker_url=default,
        concurrency=concurrency,
        max_received_size=max_received_size,
        ssl=ssl.given or None,
        default_ssl=ssl.default or None,
        # The program may set up Django: its functions leave no database connections behind then.
        server_middleware=(look_after_databases,),
    ):
        _serve(targets, labels, grace=grace, log_level=log_level, probes_at=probes_at)


def _serve(
    targets: Sequence[str],
    labels: Sequence[str],
    *,
    grace: float,
    log_level: str,
    probes_at: tuple[str, int] | None,
) -> None:
    # As `python -m` has it; a console script leads the path with its own directory.
    if sys.path[:1] not in ([""], [str(Path.cwd())]):
        sys.path.insert(0, str(Path.cwd()))
    servers = list(dict.fromkeys(load_server(each) for each in targets))
    _set_up_logging(log_level)
    line = ParentLine(lambda: serving.end("the process that started this one is gone: stopping"))
    serving = Serving(_say, on_ready=line.ready)
    for each in servers:
        serving.add(each, labels=labels, grace=grace)
    if not line.has_parent:
        _introduce()
    for each in servers:
        _introduce_server(each, briefly=line.has_parent)
    probes = None if probes_at is None else Probes(servers, *probes_at)
    try:
        if probes is not None:
            probes.start()
            _say(str(probes))
        finished = serving.run()
    except BrokerError as error:
        raise NotSent(with_options_named(error)) from error
    except ValueError as error:
        raise BadArguments(str(error)) from error
    finally:
        if probes is not None:
            probes.stop()
    if not finished:
        raise Failed(f"requests took longer than the {grace:g} s of --grace: they go back to their queues")
    _say("stopped")


def _supervise(
    arguments: Sequence[str],
    env: dict[str, str],
    *,
    processes: int,
    grace: float,
    directories: Sequence[Path],
    reloads: bool,
) -> None:
    if reloads and find_spec("watchfiles") is None:
        raise BadArguments("--reload needs watchfiles: pip install 'amphora[cli]'")
    _introduce()
    supervisor = Supervisor(
        child_command(arguments), env, processes=processes, grace=grace, waits_for_change=reloads, say=_say
    )
    watcher: gevent.Greenlet[..., Any] | None = None
    if reloads:
        from amphora.cli.watching import watch  # noqa: PLC0415  (watchfiles starts threads of its own)

        watcher = gevent.spawn(watch, directories or [Path.cwd()], supervisor.restart)
    status = supervisor.run()
    if watcher is not None:
        watcher.kill(block=False)
    if status == 0:
        _say("stopped")
    sys.stdout.flush()
    if reloads:
        # Not by way of the interpreter's end, which would wait for the watching thread.
        os._exit(status)
    sys.exit(status)


def _arguments_of_child(
    targets: Sequence[str], labels: Sequence[str], *, concurrency: int | None, grace: float, log_level: str
) -> list[str]:
    options = [f"--grace={grace!r}", f"--log-level={log_level}", *(f"--queue={label}" for label in labels)]
    if concurrency is not None:
        options.append(f"--concurrency={concurrency}")
    return ["serve", *options, "--", *targets]


def _set_up_logging(level: str) -> None:
    """Log to standard error, unless the program has set up logging itself."""
    if logging.getLogger().handlers:
        return
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s")
    logging.getLogger("amphora").setLevel(level.upper())


def _introduce() -> None:
    _say(f"Amphora {__version__}; stop with Ctrl-C")


def _introduce_server(server: AmqpRpcServer, *, briefly: bool) -> None:
    _say(f"{server.service_name}: connecting to {server.broker}, concurrency {server.concurrency}")
    if not server.functions:
        _say(f"{server.service_name}: no functions; is the module that adds them imported?")
    elif not briefly:
        _say(f"{server.service_name}: functions {', '.join(sorted(server.functions))}")
    if server.broker.startswith("memory:"):
        _say(f"{server.service_name}: memory:// is in this process alone, clients of others do not reach it")


def _say(text: str) -> None:
    # A terminal that has gone away is no reason to stop serving.
    with suppress(OSError):
        print_lines(f"[{os.getpid()}] {text}")
