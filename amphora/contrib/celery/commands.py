"""`celery -A proj amphora serve|call|functions`: the group of commands that Celery's program loads."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click
import gevent
from celery.bin.base import LOG_LEVEL
from celery.exceptions import ImproperlyConfigured
from gevent import monkey
from gevent.event import Event

from amphora import AmqpRpcException, describe_function

# Not used here: the program's `inspect` command knows a command when it has been registered.
from amphora.contrib.celery import inspection  # noqa: F401
from amphora.contrib.celery.attach import Amphora
from amphora.contrib.celery.serving import Serving
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
    serving = Serving(attached, on_failure)
    _checked(serving.start)
    asked.wait()
    if failures:
        serving.stop()
        raise click.ClickException(str(failures[0]))
    program.echo("Ending: the running calls are finished first; once more to end at once.")
    serving.finish(attached.conf.grace, hurried.is_set)
    serving.stop()


@amphora.command(context_settings={"ignore_unknown_options": True})
@click.argument("function")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("-k", "--kwargs", "named", default="{}", help="Named arguments, a JSON object.")
@click.option("-t", "--timeout", type=float, help="Seconds to wait for the answer; amphora_timeout by default.")
@click.option("-r", "--routing-key", help="Routing key of the request, for the queue of a label.")
@click.option("--fanout", is_flag=True, help="Call the function of every fan-out server; the first answer is printed.")
@click.pass_obj
def call(
    program: Any,
    function: str,
    arguments: tuple[str, ...],
    named: str,
    timeout: float | None,
    routing_key: str | None,
    fanout: bool,
) -> None:
    """Call a function and print its result as JSON.

    Each of the ARGUMENTS is read as JSON where it is some, and as text where it is not:

    \b
    celery -A proj amphora call add 1 2
    celery -A proj amphora call greet Alice -k '{"politely": true}'
    """
    attached: Amphora = program.amphora
    client = attached.fanout_client if fanout else attached.client
    options: dict[str, Any] = {"function_name": function}
    options.update({} if timeout is None else {"timeout": timeout})
    options.update({} if routing_key is None else {"routing_key": routing_key})
    keywords = _json_object(named)
    result = _checked(lambda: client.call(**options)(*map(_value, arguments), **keywords))
    client.stop()
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


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _json_object(text: str) -> dict[str, Any]:
    value = _value(text)
    if not isinstance(value, dict):
        raise click.BadParameter(f"{text!r} is no JSON object", param_hint="--kwargs")
    return value
