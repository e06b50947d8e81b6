"""`celery -A proj amphora serve|call|functions`: the group of commands that Celery's program loads."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click
import gevent
from celery.bin.base import LOG_LEVEL
from celery.exceptions import ImproperlyConfigured
from gevent import monkey
from gevent.event import Event

from amphora import (
    AmqpRpcException,
    Backlogged,
    BrokerError,
    NoResult,
    Unroutable,
    describe_function,
    parse_keyword_arguments,
    parse_value,
)

# Not used here: the program's `inspect` command knows a command when it has been registered.
from amphora.contrib.celery import inspection  # noqa: F401
from amphora.contrib.celery.attach import Amphora
from amphora.contrib.celery.serving import AppServing
from amphora.contrib.django.late_patching import let_opentelemetry_patch
from amphora.logs.remote_text import printable_json, printable_lines

__all__ = ["amphora"]


@click.group(name="amphora")
@click.pass_context
def amphora(context: click.Context) -> None:
    """Amphora: serve and call the application's RPC functions."""
    app = context.obj.app
    attached = getattr(app, "amphora", None)
    if not isinstance(attached, Amphora):
        raise click.UsageError(
            f"the application {app.main!r} has no app.amphora: name one that has with -A, and write Amphora(app) "
            "after its app = Celery(...)"
        )
    if not monkey.is_module_patched("socket"):
        _start_again_patched()
    _checked(attached.conf.check)
    app.loader.import_default_modules()
    _checked(app.finalize)
    context.obj.amphora = attached


def _start_again_patched() -> NoReturn:
    """Become the same program with the standard library patched by gevent before anything is imported."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    let_opentelemetry_patch()
    os.execv(sys.executable, [sys.executable, "-m", "gevent.monkey", "--module", "celery", *sys.argv[1:]])  # noqa: S606


@amphora.command()
@click.option("-l", "--loglevel", type=LOG_LEVEL, default="INFO", help="Logging level; INFO by default.")
@click.option("-f", "--logfile", help="Path of a file for the log instead of the terminal.")
@click.pass_obj
def serve(program: Any, loglevel: int, logfile: str | None) -> None:
    """Serve the functions in a process of its own, without running tasks.

    SIGTERM and Ctrl+C end it when the running calls are answered, or after the time that the setting amphora_grace
    gives them; a second one ends it at once.
    """
    attached: Amphora = program.amphora
    attached.app.log.setup(loglevel=loglevel, logfile=logfile, redirect_stdouts=False, colorize=not program.no_color)
    asked, hurried, failures = Event(), Event(), []

    def on_failure(error: Exception) -> None:
        failures.append(error)
        asked.set()

    def on_signal() -> None:
        (hurried if asked.is_set() else asked).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, on_signal)
    serving = AppServing(attached, on_failure)
    _checked(serving.start)
    asked.wait()
    if failures:
        serving.stop()
        raise click.ClickException(str(failures[0]))
    program.echo("Ending: the running calls are finished first; once more to end at once.")
    serving.finish(attached.conf.grace, hurried.is_set)
    serving.stop()


_CALL_EPILOG = """\
Each VALUE is JSON, or else text, as for `amphora call`: 42 is a number, '"42"' is text, and so is O-42.

\b
celery -A proj amphora call add 1 2
celery -A proj amphora call greet Alice --kw politely=true

\b
Exit statuses:
  0    the function has returned; its result is on standard output, as JSON
  1    the function raised, does not exist, or was given up
  2    wrong arguments or settings; nothing was sent
  3    no reply in time; the function may run, or may have run
  4    the broker cannot be reached or refuses, or no queue takes the request;
       the function does not run
"""


@amphora.command(context_settings={"ignore_unknown_options": True}, epilog=_CALL_EPILOG)
@click.argument("function")
@click.argument("values", nargs=-1, type=click.UNPROCESSED, metavar="[VALUE]...")
@click.option("--kw", multiple=True, metavar="NAME=VALUE", help="A keyword argument; as often as needed.")
@click.option("-k", "--kwargs", "named", default="{}", help="Keyword arguments, as a JSON object.")
@click.option("-t", "--timeout", type=float, help="Seconds to wait for the reply; amphora_timeout by default.")
@click.option("-r", "--routing-key", metavar="KEY", help="Routing key of the request, for the queue of a label.")
@click.option("--expires", is_flag=True, help="No server begins to run it after the timeout.")
@click.option("--no-wait", is_flag=True, help="Return when the broker has the request, without a result.")
@click.option("--cast", is_flag=True, help="Return when the broker has the request; servers send no reply.")
@click.option("--fanout", is_flag=True, help="Call the function of every fan-out server; the first answer is printed.")
@click.pass_obj
def call(
    program: Any,
    function: str,
    values: tuple[str, ...],
    kw: tuple[str, ...],
    named: str,
    timeout: float | None,
    routing_key: str | None,
    expires: bool,
    no_wait: bool,
    cast: bool,
    fanout: bool,
) -> None:
    """Call FUNCTION and print its result as JSON."""
    attached: Amphora = program.amphora
    client = attached.fanout_client if fanout else attached.client
    options: dict[str, Any] = {"function_name": function}
    options.update({} if timeout is None else {"timeout": timeout})
    options.update({} if routing_key is None else {"routing_key": routing_key})
    options.update({"expires": True} if expires else {})
    keywords = _keywords(named, kw)
    caller = client.cast if cast else client.defer if no_wait else client.call
    with _ends_of_a_call():
        result = caller(**options)(*map(parse_value, values), **keywords)
    client.stop()
    if not no_wait and not cast:
        program.echo(printable_json(json.dumps(result, indent=2, ensure_ascii=False, default=repr)))


@amphora.command()
@click.pass_obj
def functions(program: Any) -> None:
    """List the functions that the application serves."""
    attached: Amphora = program.amphora
    for server in (attached.server, attached.fanout_server):
        if not server.functions:
            continue
        program.echo(f"{server.service_name}:")
        for name, function in sorted(server.functions.items()):
            told = describe_function(function)
            program.echo(f"  {name}{told.signature}")
            for line in told.summary.splitlines():
                program.echo(f"      {line}")


def _checked(action: Callable[[], Any]) -> Any:
    """Do something with the broker; what goes wrong becomes an error message and the exit status 1.

    Raises:
        click.ClickException: It went wrong.
    """
    try:
        return action()
    except AmqpRpcException as error:
        raise click.ClickException(printable_lines(f"{type(error).__name__}: {error}")) from error
    except (TypeError, ValueError, ImproperlyConfigured) as error:
        raise click.ClickException(str(error)) from error


class _Failed(click.ClickException):
    """The function raised, does not exist, or was given up."""

    exit_code = 1

    def __init__(self, error: Exception) -> None:
        super().__init__(printable_lines(f"{type(error).__name__}: {error}"))


class _BadCall(_Failed):
    """Wrong arguments or settings; nothing was sent."""

    exit_code = 2


class _NoReply(_Failed):
    """No reply came in time."""

    exit_code = 3


class _Unsent(_Failed):
    """The broker cannot be reached or refuses, or no queue takes the request."""

    exit_code = 4


@contextmanager
def _ends_of_a_call() -> Iterator[None]:
    """Turn what went wrong with a call into an error message and an exit status."""
    try:
        yield
    except NoResult as error:
        raise _NoReply(error) from error
    except (Backlogged, BrokerError, Unroutable) as error:
        raise _Unsent(error) from error
    except AmqpRpcException as error:
        raise _Failed(error) from error
    except (TypeError, ValueError, ImproperlyConfigured) as error:
        raise _BadCall(error) from error


def _keywords(named: str, pairs: tuple[str, ...]) -> dict[str, Any]:
    """Return the keyword arguments of both options."""
    given = parse_value(named)
    if not isinstance(given, dict):
        raise click.BadParameter(f"{named!r} is no JSON object", param_hint="--kwargs")
    try:
        keywords = parse_keyword_arguments(pairs)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--kw") from error
    if twice := sorted(given.keys() & keywords.keys()):
        raise click.BadParameter(f"{twice[0]!r} is in --kwargs too", param_hint="--kw")
    return {**given, **keywords}
