"""System checks: of the setting ``AMPHORA``, of the modules of handlers, and of monkey-patching."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error
from django.views.debug import get_default_exception_reporter_filter
from gevent import monkey

from amphora.contrib.django.conf import ServiceSettings, problems, sound_services
from amphora.contrib.django.discovery import failures
from amphora.contrib.django.problems import wrong_arguments

__all__ = ["TAG", "check_deployment", "check_error_reports", "check_handlers", "check_patching", "check_settings"]

#: Tag of the checks: ``manage.py check --tag amphora``.
TAG = "amphora"

_PATCH = "`from gevent import monkey; monkey.patch_all()`"


def check_settings(**_: Any) -> list[CheckMessage]:
    """Check what the settings say, as the constructors of servers and clients would."""
    wrong = list(problems())
    given = getattr(settings, "AMPHORA", None)
    if isinstance(given, Mapping):
        wrong += [problem for alias, options in given.items() for problem in wrong_arguments(alias, options)]
    found: list[CheckMessage] = [Error(each.text, hint=each.hint, id=f"amphora.{each.kind}") for each in wrong]
    for service in sound_services().values():
        found += _more_about(service)
    found += _duplicates()
    return found


def check_handlers(**_: Any) -> list[CheckMessage]:
    """Check that every module of handlers can be imported."""
    hint = "Until then no process serves anything: a service that lacks some of its functions would be worse."
    return [Error(f"The handlers in {failure}.", hint=hint, id="amphora.E005") for failure in failures()]


def check_patching(**_: Any) -> list[CheckMessage]:
    """Check that a process which is about to answer web requests can call RPC from its views."""
    if monkey.is_module_patched("socket"):
        if monkey.is_module_patched("threading"):
            return []
        text = "gevent has patched sockets, but not threading: waiting for a lock or an event stops the whole process."
        return [checks.Warning(text, hint=f"Patch everything: {_PATCH}, before all other imports.", id="amphora.W011")]
    if sys.argv[1:2] != ["runserver"] or _all_threaded():
        return []
    text = "This process is not monkey-patched by gevent: views that call RPC will raise a RuntimeError."
    hint = (
        f"Leave AMPHORA_PATCH_RUNSERVER at True, make {_PATCH} the first line of manage.py, or let calls wait in "
        "threads, with the setting THREADED."
    )
    return [checks.Warning(text, hint=hint, id="amphora.W012")]


def check_deployment(**_: Any) -> list[CheckMessage]:
    """Check what can be told of the processes that will answer web requests (``check --deploy``)."""
    found: list[CheckMessage] = []
    for service in sound_services().values():
        if str(service.client_options.get("broker_url", "")).startswith("memory:"):
            text = f"AMPHORA[{service.alias!r}] uses memory://, which reaches no other process."
            found.append(checks.Warning(text, hint="Give it the BROKER_URL of a RabbitMQ.", id="amphora.W021"))
    if not monkey.is_module_patched("socket") and not _all_threaded():
        text = "manage.py is not monkey-patched by gevent; the processes that call RPC must be."
        hint = (
            "gunicorn -k gevent and runserver_rpc do it for you: then silence this with SILENCED_SYSTEM_CHECKS = "
            f"['amphora.W022']. For others, make {_PATCH} the first line of wsgi.py or asgi.py, and of manage.py; or "
            "let calls wait in threads, with the setting THREADED."
        )
        found.append(checks.Warning(text, hint=hint, id="amphora.W022"))
    return found


def check_error_reports(**_: Any) -> list[CheckMessage]:
    """Check that the project's own filter of error reports, if it has one, shows no password of a broker."""
    given = getattr(settings, "AMPHORA", None)
    if not isinstance(given, Mapping):
        return []
    try:
        shown = repr(get_default_exception_reporter_filter().get_safe_settings().get("AMPHORA"))
    except Exception:  # noqa: BLE001  (whatever the project's own class raises; Django's reports say so)
        return []
    urls = ((alias, options.get("BROKER_URL")) for alias, options in given.items() if isinstance(options, Mapping))
    return [
        checks.Warning(
            f"Django's error reports show AMPHORA[{alias!r}]['BROKER_URL'] with its password.",
            hint="Let the hidden_settings of the class in DEFAULT_EXCEPTION_REPORTER_FILTER match BROKER_URL.",
            id="amphora.W013",
        )
        for alias, url in urls
        if isinstance(url, str) and "@" in url and url in shown
    ]


def _all_threaded() -> bool:
    """Return whether no client needs a patched process."""
    return all(service.threaded for service in sound_services().values())


def _more_about(service: ServiceSettings) -> Iterator[CheckMessage]:
    where = f"AMPHORA[{service.alias!r}]"
    if service.using not in settings.DATABASES:
        text = f"{where}['USING'] is {service.using!r}, which is no alias of DATABASES."
        if service.atomic_requests:
            yield Error(text, hint="ATOMIC_REQUESTS opens its transactions there.", id="amphora.E006")
        elif service.using != "default":
            yield Error(text, hint="defer_on_commit waits for transactions there.", id="amphora.E006")
    if "uuid" in service.client_options:
        text = f"{where}['UUID'] is the same in every process, so that one gets the replies to the calls of another."
        yield checks.Warning(text, hint="Leave it out: each process makes its own.", id="amphora.W001")


def _duplicates() -> Iterator[CheckMessage]:
    """Find services that two aliases stand for."""
    seen: dict[tuple[object, ...], str] = {}
    for service in sound_services().values():
        key = (service.service_name, *_address(service))
        if key not in seen:
            seen[key] = service.alias
            continue
        text = (
            f"AMPHORA[{seen[key]!r}] and AMPHORA[{service.alias!r}] both stand for the service "
            f"{service.service_name!r} of one broker: requests of either would go to servers that know only the "
            "functions of the other."
        )
        hint = "Keep one of them; options of single calls are given with the call, such as client.call(timeout=5)."
        yield Error(text, hint=hint, id="amphora.E004")


def _address(service: ServiceSettings) -> tuple[object, ...]:
    """Return what identifies a broker, without the user."""
    options = service.client_options
    url = options.get("broker_url")
    if url is not None:
        return (re.sub(r"//[^/@]*@", "//", str(url)),)
    return tuple(options.get(name) for name in ("amqp_host", "amqp_port", "amqp_vhost"))
