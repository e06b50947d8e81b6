"""The system checks: `manage.py check` names alias, setting and remedy."""

import re
import sys
from uuid import uuid4

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django.views.debug import (
    ExceptionReporter,
    SafeExceptionReporterFilter,
    get_default_exception_reporter_filter,
)
from gevent import monkey

from amphora import NoResult
from amphora.contrib.django import client, discovery
from amphora.contrib.django.checks import TAG
from tests.support.secrets import UNREADABLE_URLS, shown_parts, told_by

SHOP = {"SERVICE_NAME": "shop", "BROKER_URL": "amqp://shop:secret@host"}


@pytest.fixture(autouse=True)
def _handlers_are_imported():
    """Import the project's own handlers with the project's own settings."""
    discovery.discover()


def checked(amphora, *, deploy=False):
    """Return the ids and texts of all complaints about a setting."""
    with override_settings(AMPHORA=amphora):
        found = run_checks(tags=[TAG], include_deployment_checks=deploy)
    assert not [message for message in found if "secret" in str(message)]
    return [(message.id, message.msg) for message in found]


def test_good_settings_pass():
    assert checked({"default": SHOP, "fan": {"SERVICE_NAME": "fan", "FANOUT": True, "FANOUT_QUEUE_EXPIRES": 5}}) == []


def test_mistakes_in_names_are_errors():
    assert checked({"default": {**SHOP, "CONCURENCY": 5}}) == [
        ("amphora.E002", "AMPHORA['default'] has an unknown setting 'CONCURENCY'; did you mean 'CONCURRENCY'?")
    ]
    assert checked(None) == [("amphora.E001", "The setting AMPHORA is missing.")]


def test_every_value_that_a_constructor_refuses_is_an_error():
    options = {**SHOP, "CONCURRENCY": "50", "TIMEOUT": "10", "QUEUE_TYPE": "fast", "SERIALIZER": "nosuch.Serializer"}

    assert sorted(checked({"default": options})) == [
        ("amphora.E003", "AMPHORA['default']['CONCURRENCY']: concurrency must be an int, not '50'."),
        (
            "amphora.E003",
            "AMPHORA['default']['QUEUE_TYPE']: queue_type must be 'auto', 'classic' or 'quorum', not 'fast'.",
        ),
        ("amphora.E003", "AMPHORA['default']['SERIALIZER']: No module named 'nosuch'."),
        ("amphora.E003", "AMPHORA['default']['TIMEOUT']: timeout must be a number of seconds, not '10'."),
    ]


@pytest.mark.parametrize("url", UNREADABLE_URLS)
def test_no_complaint_about_a_url_shows_a_part_of_its_password(url):
    with override_settings(AMPHORA={"default": {**SHOP, "BROKER_URL": url}}):
        found = run_checks(tags=[TAG], include_deployment_checks=True)
        with pytest.raises(ImproperlyConfigured, match="percent-encode") as caught:
            client.call.f()

    assert "percent-encode" in str(found)
    assert shown_parts(told_by(caught.value) + str(found) + repr(found), url) == []


def test_error_reports_of_django_hide_the_urls_of_brokers():
    hide = SafeExceptionReporterFilter().cleanse_setting

    with override_settings(AMPHORA={"default": SHOP}):
        shown = SafeExceptionReporterFilter().get_safe_settings()

    assert shown["AMPHORA"] == {"default": {"SERVICE_NAME": "shop", "BROKER_URL": hide("PASSWORD", "x")}}
    assert "secret" not in hide("AMPHORA_BROKER_URL", "amqp://u:secret@h")
    assert hide("SERVICE_NAME", "shop") == "shop"


def test_values_that_do_not_go_together_are_an_error():
    ((kind, text),) = checked({"default": {**SHOP, "AMQP_HOST": "host"}})

    assert kind == "amphora.E003"
    assert text.startswith("AMPHORA['default']: give either broker_url or amqp_host, not both")


def test_a_mistake_in_a_name_hides_no_mistake_in_a_value():
    found = checked({"default": {**SHOP, "TIMEOUT": "10", "CONCURENCY": 5}})

    assert [kind for kind, _ in found] == ["amphora.E002", "amphora.E003"]


def test_two_aliases_of_one_service_are_an_error_whoever_logs_in():
    ((kind, text),) = checked({"default": SHOP, "more": {**SHOP, "BROKER_URL": "amqp://else:secret@host"}})

    assert kind == "amphora.E004"
    assert text.startswith("AMPHORA['default'] and AMPHORA['more'] both stand for the service 'shop' of one broker")


def test_one_service_name_at_two_brokers_is_fine():
    assert checked({"default": SHOP, "there": {**SHOP, "BROKER_URL": "amqp://there"}}) == []
    hosts = [{"SERVICE_NAME": "shop", "AMQP_HOST": host} for host in ("here", "there")]
    assert checked({"default": hosts[0], "there": hosts[1]}) == []


@pytest.mark.parametrize("atomic", [True, False])
def test_a_database_that_is_not_there_is_an_error(atomic):
    assert checked({"default": {**SHOP, "ATOMIC_REQUESTS": atomic, "USING": "replica"}}) == [
        ("amphora.E006", "AMPHORA['default']['USING'] is 'replica', which is no alias of DATABASES.")
    ]


def test_an_identifier_shared_by_all_processes_is_warned_of():
    ((kind, text),) = checked({"default": {**SHOP, "UUID": "web"}})

    assert kind == "amphora.W001"
    assert text.startswith("AMPHORA['default']['UUID'] is the same in every process")


@pytest.fixture
def handlers(monkeypatch, tmp_path):
    """Make an app of the name that is returned, with the source of its handlers."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(discovery, "_tried", dict(discovery._tried))

    def app(name, source):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        (tmp_path / name / "rpc.py").write_text(source)
        return str(tmp_path / name / "rpc.py")

    yield app
    for name in [name for name in sys.modules if name.partition(".")[0] in {path.name for path in tmp_path.iterdir()}]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "source", "line", "error"),
    [
        ("lacking", "import json\nimport no_such_module\n", 2, "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raising", "\n\n1 / 0\n", 3, "ZeroDivisionError: division by zero"),
        ("broken", "def f(:\n", 1, "SyntaxError: "),
        (
            "astray",
            "from amphora.contrib.django import servers\n\n@servers['biling'].add_function\ndef f(): ...\n",
            3,
            "ImproperlyConfigured: AMPHORA has no alias 'biling'; did you mean 'billing'?",
        ),
        (
            "twice",
            "from amphora.contrib.django import server\n\n@server.add_function\ndef add(x): ...\n",
            3,
            "ValueError: there is already a remote function 'add'",
        ),
    ],
)
def test_handlers_that_cannot_be_imported_are_an_error_with_file_and_line(handlers, name, source, line, error):
    path = handlers(name, source)

    with override_settings(INSTALLED_APPS=["amphora.contrib.django", "orders", "billing", name]):
        found = run_checks(tags=[TAG])
        again = run_checks(tags=[TAG])

    assert [message.id for message in found] == ["amphora.E005"]
    assert found[0].msg.startswith(f"The handlers in {name}.rpc cannot be imported ({path}, line {line}): {error}")
    assert again == found


def test_modules_of_handlers_may_have_another_name(handlers):
    handlers("named", "")

    with override_settings(INSTALLED_APPS=["orders", "named"]):
        assert discovery.discover() == ["orders.rpc", "named.rpc"]
        with override_settings(AMPHORA={"default": {**SHOP, "HANDLERS_MODULE": "views"}}):
            assert discovery.discover() == ["orders.views"]


def test_a_process_under_runserver_that_is_not_patched_is_warned_of(monkeypatch):
    monkeypatch.setattr(monkey, "is_module_patched", lambda _: False)
    monkeypatch.setattr(sys, "argv", ["manage.py", "runserver"])
    assert [kind for kind, _ in checked({"default": SHOP})] == ["amphora.W012"]

    monkeypatch.setattr(sys, "argv", ["manage.py", "check"])
    assert checked({"default": SHOP}) == []
    assert [kind for kind, _ in checked({"default": SHOP}, deploy=True)] == ["amphora.W022"]


def test_half_a_patching_is_warned_of(monkeypatch):
    monkeypatch.setattr(monkey, "is_module_patched", lambda name: name == "socket")

    assert [kind for kind, _ in checked({"default": SHOP})] == ["amphora.W011"]


def test_the_memory_transport_is_warned_of_before_a_deployment():
    memory = {"default": {"SERVICE_NAME": "shop", "BROKER_URL": "memory://"}}

    assert checked(memory) == []
    assert [kind for kind, _ in checked(memory, deploy=True)] == ["amphora.W021"]


class CarelessFilter(SafeExceptionReporterFilter):
    """Hides less than Django does."""

    hidden_settings = re.compile("SECRET_KEY")


def test_error_reports_that_show_the_broker_s_password_are_complained_about():
    get_default_exception_reporter_filter.cache_clear()
    try:
        with override_settings(DEFAULT_EXCEPTION_REPORTER_FILTER=f"{__name__}.CarelessFilter"):
            found = checked({"default": SHOP, "local": {"SERVICE_NAME": "local"}})
    finally:
        get_default_exception_reporter_filter.cache_clear()

    assert found == [
        ("amphora.W013", "Django's error reports show AMPHORA['default']['BROKER_URL'] with its password.")
    ]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        pytest.param(
            {"BROKER_URL": "amqp://shop:{}@127.0.0.1:1//", "TIMEOUT": 0.1},
            NoResult,
            id="call",
            marks=pytest.mark.expects_errors("had not confirmed 1 request when the client was stopped"),
        ),
        pytest.param({"BROKER_URL": "amqp://shop:{}@host:port//"}, ImproperlyConfigured, id="URL"),
        pytest.param({"AMQP_PASSWORD": "{}", "AMQP_PORT": "wrong"}, ImproperlyConfigured, id="argument"),
    ],
)
def test_error_reports_about_calls_show_no_password(options, error):
    password = f"p{uuid4().hex}"
    filled = {name: value.format(password) if isinstance(value, str) else value for name, value in options.items()}
    with override_settings(AMPHORA={"default": {"SERVICE_NAME": "shop", **filled}}):
        with pytest.raises(error) as caught:
            client.call.f()
        # Without the frame of this test, which knows it.
        reporter = ExceptionReporter(None, caught.type, caught.value, caught.tb.tb_next)
        report = reporter.get_traceback_html() + reporter.get_traceback_text()

    assert "AMPHORA" in report
    assert password not in report
