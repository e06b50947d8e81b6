"""The `amphora_*` settings: where they are read from, what is said of wrong ones, and what Celery's own give."""

import os
import re
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import run
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import ImproperlyConfigured

from amphora import RpcMsgpackSerializer
from amphora.contrib.celery import Amphora
from tests.contrib.celery.conftest import NewApp
from tests.support.fragments import run_fragment
from tests.support.pages import Reading
from tests.support.processes import ROOT
from tests.support.secrets import UNREADABLE_URLS, shown_parts, told_by

PAGE = Path(__file__).parents[3] / "docs" / "celery-settings.md"


def configured(namespace: str | None, **settings: Any) -> Any:
    app = Celery(set_as_current=False)
    app.config_from_object(SimpleNamespace(**settings), namespace=namespace)
    Amphora(app)
    return app


def test_settings_are_read_where_celery_reads_its_own(new_app: NewApp) -> None:
    app = new_app(amphora_timeout=3)

    app.conf.amphora_concurrency = 7

    assert app.amphora.conf.timeout == app.conf.amphora_timeout == 3
    assert app.amphora.conf.concurrency == app.conf.amphora_concurrency == 7
    assert app.amphora.conf.heartbeat == app.conf.amphora_heartbeat == 30


def test_settings_before_and_after_the_configuration_is_read_count() -> None:
    app = Celery(set_as_current=False)
    app.conf.amphora_service_name = "before"
    Amphora(app)
    assert app.amphora.conf.service_name == "before"

    app.conf.amphora_service_name = "after"

    assert app.amphora.conf.service_name == "after"
    assert app.amphora.conf.fanout_service_name == "after_fanout"


@pytest.mark.parametrize(
    ("namespace", "name"),
    [
        (None, "amphora_{}"),
        ("CELERY", "CELERY_AMPHORA_{}"),
        ("shop", "shop_amphora_{}"),
        # What is set on app.conf by hand bears no namespace.
        ("CELERY", "amphora_{}"),
    ],
)
def test_a_namespace_of_celery_holds_for_them_too(namespace: str | None, name: str) -> None:
    def spelled(key: str) -> str:
        return name.format(key.upper() if name.isupper() or "CELERY" in name else key)

    app = configured(namespace, **{spelled("service_name"): "shop", spelled("timeout"): 3})

    assert app.amphora.conf.service_name == "shop"
    assert app.amphora.conf.timeout == 3
    assert app.amphora.conf.client_options()["timeout"] == 3


@pytest.mark.parametrize(
    ("namespace", "name", "told"),
    [
        (None, "amphora_timeot", "unknown setting amphora_timeot; did you mean amphora_timeout?"),
        ("CELERY", "CELERY_AMPHORA_TIMEOT", "CELERY_AMPHORA_TIMEOT; did you mean CELERY_AMPHORA_TIMEOUT?"),
        (None, "amphora_xyzzy", "unknown setting amphora_xyzzy (docs/celery-settings.md lists them all)"),
        (None, "AMPHORA_TIMEOUT", "setting AMPHORA_TIMEOUT is not read: write amphora_timeout"),
    ],
)
@pytest.mark.expects_errors("setting AMPHORA_TIMEOUT is not read", "unknown setting")
def test_an_unknown_setting_is_told_with_the_nearest_right_name(
    namespace: str | None, name: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = configured(namespace, **{name: 3})

    app.conf.amphora_service_name = "shop"

    with pytest.raises(ImproperlyConfigured, match=re.escape(told)):
        app.amphora.client.call.f()
    # And in processes that use neither client nor server, as soon as they read the configuration.
    assert told in caplog.text


def test_a_setting_that_does_not_exist_cannot_be_asked_for(app: Any) -> None:
    with pytest.raises(AttributeError, match=r"no setting amphora_timeot; did you mean amphora_timeout\?"):
        app.amphora.conf.timeot  # noqa: B018


@pytest.mark.parametrize("endpoint", ["client", "fanout_client", "server", "fanout_server"])
def test_a_service_name_is_needed_as_soon_as_something_is_used(endpoint: str) -> None:
    app = configured(None, broker_url="memory://")

    with pytest.raises(ImproperlyConfigured, match=r"no amphora_service_name: set app\.conf\.amphora_service_name"):
        getattr(app.amphora, endpoint).serve()


def test_a_setting_of_the_wrong_type_is_named(new_app: NewApp) -> None:
    app = new_app(amphora_concurrency="10")

    with pytest.raises(ImproperlyConfigured, match="concurrency must be an int, not '10'"):
        app.amphora.server.serve()


def test_serializers_are_given_as_celery_gives_classes(new_app: NewApp) -> None:
    app = new_app(amphora_serializer="amphora:RpcMsgpackSerializer", amphora_accept=["amphora:RpcJsonSerializer"])

    options = app.amphora.conf.client_options()

    assert options["serializer"] is RpcMsgpackSerializer
    assert len(options["accept"]) == 1


@pytest.mark.expects_errors("amphora_[a-z_]+ must be ")
@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("worker", "yes", "True or False"),
        ("declare", "no", "True or False"),
        ("grace", "10", "a number of seconds, or None"),
        ("result_timeout", -1, "a number of seconds, or None"),
        ("queues", "label", "a list of labels, each a str"),
        ("accept", "amphora:RpcJsonSerializer", "a list of serializers, or of dotted paths to them"),
    ],
)
def test_a_value_that_cannot_be_meant_is_named_with_what_is_wanted(
    name: str, value: Any, wanted: str, new_app: NewApp
) -> None:
    app = new_app(**{f"amphora_{name}": value})

    assert app.amphora.conf.problems() == [f"amphora_{name} must be {wanted}"]
    with pytest.raises(ImproperlyConfigured, match=f"amphora_{name} must be "):
        app.amphora.conf.client_options()


# The broker.


@pytest.mark.parametrize(
    ("celery", "amphora"),
    [
        ("amqp://", "amqp://guest:guest@127.0.0.1/%2F"),
        ("amqp://host//", "amqp://guest:guest@host/%2F"),
        ("pyamqp://user:p%40ss%2F@host:1234/v%2Fhost", "amqp://user:p%40ss%2F@host:1234/v%2Fhost"),
        ("amqps://user:pass@host/shop", "amqps://user:pass@host/shop"),
        (["amqp://a/x", "amqp://b:7/x"], "amqp://guest:guest@a/x;amqp://guest:guest@b:7/x"),
        ("amqp://a/x;amqp://b:7/x", "amqp://guest:guest@a/x;amqp://guest:guest@b:7/x"),
        ("memory://", "memory://"),
    ],
)
def test_the_broker_is_that_of_celery(celery: Any, amphora: str, new_app: NewApp) -> None:
    app = new_app(broker_url=celery)

    for options in (app.amphora.conf.client_options(), app.amphora.conf.server_options()):
        assert options["broker_url"] == amphora


def test_another_broker_can_be_given(new_app: NewApp) -> None:
    app = new_app(broker_url="filesystem://", amphora_broker_url="amqp://host/", amphora_ssl=True)

    options = app.amphora.conf.client_options()

    assert (options["broker_url"], options["ssl"]) == ("amqp://host/", True)


def test_a_broker_that_is_not_rabbitmq_is_refused_with_the_remedy(new_app: NewApp) -> None:
    app = new_app(broker_url="filesystem://")

    with pytest.raises(ImproperlyConfigured, match=r"is of the kind 'filesystem', .* set amphora_broker_url"):
        app.amphora.client.call.f()


@pytest.mark.parametrize(
    ("celery", "amphora"),
    [
        (True, True),
        (
            {"ca_certs": "ca", "certfile": "c", "keyfile": "k", "cert_reqs": ssl.CERT_REQUIRED},
            {"ca_certs": "ca", "certfile": "c", "keyfile": "k"},
        ),
        ({"cert_reqs": ssl.CERT_NONE}, {"verify": False}),
    ],
)
def test_tls_is_that_of_celery(celery: Any, amphora: Any, new_app: NewApp) -> None:
    app = new_app(broker_url="amqp://host", broker_use_ssl=celery)

    assert app.amphora.conf.client_options()["ssl"] == amphora


def test_tls_that_amphora_cannot_do_is_refused_with_the_remedy(new_app: NewApp) -> None:
    app = new_app(broker_url="amqp://host", broker_use_ssl={"do_handshake_on_connect": True})

    with pytest.raises(ImproperlyConfigured, match=r"has do_handshake_on_connect, .* set amphora_ssl"):
        app.amphora.conf.client_options()


def test_no_report_of_celery_shows_a_password(new_app: NewApp) -> None:
    app = new_app(amphora_broker_url="amqp://user:s3cret@host/", amphora_signing_keys=["s3cret"], amphora_timeout=77)

    shown = app.conf.humanize(with_defaults=True, censored=True)

    assert "s3cret" not in shown
    assert "77" in shown


@pytest.mark.parametrize("url", UNREADABLE_URLS)
@pytest.mark.parametrize("setting", ["broker_url", "amphora_broker_url"])
def test_no_error_about_a_url_shows_a_part_of_its_password(
    url: str, setting: str, new_app: NewApp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    app = new_app(**{setting: url})

    attempts: list[Callable[[], Any]] = [
        lambda: app.amphora.client.call.f(),
        lambda: app.amphora.server.serve(),
        lambda: app.amphora.fanout_client.defer.f(),
    ]

    for attempt in attempts:
        with pytest.raises((ImproperlyConfigured, ValueError), match="percent-encode") as caught:
            attempt()
        assert shown_parts(told_by(caught.value) + caplog.text, url) == []


@pytest.mark.parametrize(
    "url", ["amqp://guest:40917/Gehe1m@127.0.0.1:1//", "amqp://guest:Zugang1/x@127.0.0.1:1//", "amqp:alice:Gehe1m@x"]
)
def test_nor_does_a_command_of_celery(url: str) -> None:
    command = "-m celery -A tests.contrib.celery.project amphora call add 1"
    env = {**os.environ, "PROJECT_BROKER": url, "PROJECT_SERVICE": "shop"}

    ran = run([sys.executable, *command.split()], cwd=ROOT, env=env, capture_output=True, text=True, timeout=100)

    assert ran.returncode == 1
    assert "percent-encode" in ran.stderr
    assert shown_parts(ran.stdout + ran.stderr, url) == []


# The page.


@pytest.mark.page("docs/celery-settings.md")
def test_the_page_s_application_has_functions_that_are_tasks_and_tasks_that_are_functions(
    page: Reading, own_tasks: None, service: str
) -> None:
    making, adding, exposing = page.take("python")
    names: dict[str, Any] = {"__name__": "shop.tasks"}
    source = making.text.replace("amqp://guest@localhost//", "memory://")

    run_fragment(source.replace("shop", service), names, making.compiled_as)
    app = names["app"]
    app.conf.result_backend = "cache+memory://"
    app.task(configured, name="shop.tasks.clean")
    try:
        app.amphora.server.serve()
        assert run_fragment(adding.text.replace("amphora.shop", f"amphora.{service}"), names, adding.compiled_as) == [
            (15, 15)
        ]
        run_fragment(exposing.text, names, exposing.compiled_as)

        assert f"amphora.{service}.price" in app.tasks
        assert sorted(app.amphora.server.functions) == ["clean", "price", "report", "shop.tasks.resize"]
    finally:
        app.amphora.client.reset()
        app.amphora.server.reset()
        app.close()
