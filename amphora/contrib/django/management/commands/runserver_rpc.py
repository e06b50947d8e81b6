"""``manage.py runserver_rpc``: serve the project's remote functions."""

from __future__ import annotations

import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import django
import gevent
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connections

from amphora import BrokerError, Serving, __version__
from amphora.contrib.django.conf import service, services
from amphora.contrib.django.connections import idle_connections
from amphora.contrib.django.console_log import log_to_console
from amphora.contrib.django.drivers import make_cooperative
from amphora.contrib.django.endpoints import LazyServer, clients, servers
from amphora.contrib.django.functions import describe
from amphora.contrib.django.options import server_settings
from amphora.contrib.django.patching import (
    is_patched,
    not_patched,
    patched_command,
    prepare_environment,
    run_again_patched,
)
from amphora.contrib.django.reloading import FORWARDED, RELOAD, is_reloaded, supervise, watch
from amphora.contrib.django.streams import open_closed_streams

#: What `--broker` replaces, besides ``BROKER_URL``.
_ADDRESS = ("AMQP_HOST", "AMQP_PORT", "AMQP_USER", "AMQP_PASSWORD", "AMQP_VHOST")

#: Seconds that running requests have when the code has changed; those that take longer run again.
_RELOAD_GRACE = 5.0


@dataclass(frozen=True)
class ServedService:
    """One service that is served.

    Args:
        alias: Its alias in ``AMPHORA``.
        server: Its server.
        queues: Labels whose queues are served too.
        grace: Seconds that running requests have when it stops.
    """

    alias: str
    server: LazyServer
    queues: Sequence[str]
    grace: float


class Command(BaseCommand):
    """Serves one alias, several or all of them in one process."""

    help = "Serve the remote functions of this project."

    def __init__(self, *args: Any, **options: Any) -> None:
        open_closed_streams()
        super().__init__(*args, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the command's arguments."""
        parser.add_argument(
            "aliases", nargs="*", metavar="alias", help="aliases of the setting AMPHORA; by default all of them"
        )
        parser.add_argument(
            "--concurrency", type=_count, metavar="N", help="how many requests run at the same time, for each alias"
        )
        parser.add_argument("--broker", metavar="URL", help="the broker's URL, instead of the settings'")
        parser.add_argument(
            "--queue",
            action="append",
            default=[],
            dest="queues",
            metavar="LABEL",
            help="serve the queue of this label too (again for each label); needs one alias",
        )
        parser.add_argument(
            "--grace",
            type=_seconds,
            metavar="SECONDS",
            help="how long running requests are waited for when the server is stopped (GRACE, 30 s by default)",
        )
        parser.add_argument(
            "--noreload",
            action="store_false",
            dest="use_reloader",
            help="do not start again when the code changes, which is done where DEBUG is True",
        )

    def run_from_argv(self, argv: list[str]) -> None:
        """Run the command in a process that is patched from its first line: this one, again, or a child of it."""
        # A mistake in the arguments, or --help, ends here.
        self._called_from_command_line = True
        options = self.create_parser(argv[0], argv[1]).parse_args(argv[2:])
        try:
            if settings.DEBUG and options.use_reloader and not is_reloaded():
                prepare_environment()
                sys.exit(supervise(patched_command()))
            run_again_patched()
        except CommandError as error:
            self.stderr.write(f"{type(error).__name__}: {error}")
            sys.exit(error.returncode)
        super().run_from_argv(argv)

    def execute(self, *args: Any, **options: Any) -> Any:
        """Say that the checks are made, as ``runserver`` does, and make them."""
        if not is_patched():
            raise not_patched("call it as a command, not with call_command, or patch")
        make_cooperative()
        self._tells_of_checks = options["verbosity"] > 0
        if self._tells_of_checks and not options["skip_checks"]:
            self.stdout.write("Performing system checks...\n")
        return super().execute(*args, **options)

    def check(self, *args: Any, **options: Any) -> Any:
        """Make the checks, and count the problems in what is printed."""
        return super().check(*args, **{**options, "display_num_errors": self._tells_of_checks})

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002  (Django's signature)
        """Serve until a signal, and exit: with 0 where everything was finished, else with 1."""
        log_to_console(options["verbosity"])
        aliases = list(dict.fromkeys(options["aliases"] or services()))
        if options["queues"] and len(aliases) != 1:
            raise CommandError(
                f"--queue needs one alias, and these would be served: {', '.join(aliases)}. "
                "Name the alias, or write the labels to AMPHORA[alias]['QUEUES']."
            )
        served = [self._served(alias, options) for alias in aliases]
        if settings.DEBUG:
            self._look_for_migrations()
        # What importing and checking have opened is not used again.
        connections.close_all()
        if options["verbosity"] > 0:
            self._introduce(served)
        self._serve(served)
        self._say("Stopped.")

    def _serve(self, served: Sequence[ServedService]) -> None:
        serving = Serving(self._say, forwarded=FORWARDED if is_reloaded() and FORWARDED != signal.SIGTERM else None)
        for each in served:
            serving.add(each.server, labels=each.queues, grace=each.grace, name=each.alias)
        reloads = False

        def reload(why: str) -> None:
            nonlocal reloads
            reloads = True
            serving.end(why, grace=_RELOAD_GRACE)

        if is_reloaded():
            gevent.spawn(watch, reload)
        try:
            finished = serving.run()
        except (BrokerError, ValueError) as error:
            raise CommandError(f"AMPHORA[{serving.failed!r}]: {error}") from error
        finally:
            idle_connections.close_all()
        if reloads:
            sys.exit(RELOAD)
        if not finished:
            raise CommandError("Requests that took longer than the grace period go back to their queues.")

    def _served(self, alias: str, options: dict[str, Any]) -> ServedService:
        try:
            chosen = service(alias)
            stand_in = servers[alias]
            if options["concurrency"] is not None:
                stand_in.override(concurrency=options["concurrency"])
            if options["broker"] is not None:
                address = {name.lower(): server_settings()[name].default for name in _ADDRESS}
                # The functions' own calls to the service go the same way.
                for each in (stand_in, clients[alias]):
                    each.override(**address, broker_url=options["broker"])
            # Made now: a mistake in its arguments comes to light before anything is served.
            stand_in.real  # noqa: B018
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        grace = chosen.grace if options["grace"] is None else options["grace"]
        return ServedService(alias, stand_in, [*dict.fromkeys([*chosen.queues, *options["queues"]])], grace)

    def _look_for_migrations(self) -> None:
        try:
            self.check_migrations()
        except OperationalError as error:
            self._say(self.style.WARNING(f"Cannot look for unapplied migrations: {error}"))

    def _introduce(self, served: Sequence[ServedService]) -> None:
        now = datetime.now().strftime("%B %d, %Y - %X")
        count = f"{len(served)} RPC service{'s' * (len(served) != 1)}"
        self.stdout.write(
            f"\n{now}\n"
            f"Django version {django.get_version()}, using settings {settings.SETTINGS_MODULE!r}\n"
            f"Amphora version {__version__}, serving {count}\n"
        )
        for each in served:
            self._introduce_service(each)
        self._say("Quit the server with CONTROL-C.\n")

    def _introduce_service(self, served: ServedService) -> None:
        alias, server = served.alias, served.server.real
        labels = "".join(f", and of label {label!r}" for label in served.queues)
        self.stdout.write(self.style.MIGRATE_HEADING(f"{alias} (service {server.service_name!r})"))
        self.stdout.write(f"  broker       {server.broker}")
        self.stdout.write(f"  queues       its own{labels}")
        self.stdout.write(f"  concurrency  {server.concurrency}")
        functions = [describe(alias, name, function) for name, function in sorted(server.functions.items())]
        if not functions:
            module = service(alias).handlers_module
            text = f"  no functions; add some with servers[{alias!r}].add_function in {module}.py of an app"
            self.stdout.write(self.style.WARNING(text))
        for number, function in enumerate(functions):
            self.stdout.write(f"  {'' if number else 'functions':13}{function.name}{function.signature}")
        if server.broker.startswith("memory:"):
            text = "  memory:// is in this process alone: clients of other processes do not reach it"
            self.stdout.write(self.style.WARNING(text))
        self.stdout.write("")

    def _say(self, text: str) -> None:
        # A terminal or a pipe that is gone is no reason to stop serving.
        with suppress(OSError):
            self.stdout.write(text)
            self.stdout.flush()


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"a whole number of at least 1, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ArgumentTypeError(f"a number of seconds, 0 or more, not {text!r}")
    return seconds
