"""The admin's pages: who may see and do what, and what they say where something does not work."""

import json
import os
import re
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import port_for
import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.test import Client, override_settings
from django.urls import resolve
from django.utils import timezone

from amphora import AmqpRpcServer
from amphora.contrib.django import admin_calls, admin_services, client, server
from amphora.contrib.django.discovery import HandlersNotImported, discover
from amphora.contrib.django.models import FailedCall

pytestmark = pytest.mark.usefixtures("database")

SERVICES = "/admin/amphora/service/"
SERVICE = f"{SERVICES}default/change/"
CALL = f"{SERVICES}default/call/"
FAILED = "/admin/amphora/failedcall/"

#: Of a server that is not made from the settings.
SERVICE_NAME = f"foreign_{uuid4().hex[:8]}"

PROJECTS = Path(__file__).parent / "projects"


def browser_of(*permissions, **options):
    """A test client that a member of staff with those permissions is logged in with."""
    user = User.objects.create_user(f"staff_{uuid4().hex[:8]}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions, content_type__app_label="amphora"))
    browser = Client(**options)
    browser.force_login(user)
    return browser


def calling(function, args="[]", kwargs="{}", timeout="20", routing_key=""):
    """The fields of the form."""
    return {"function": function, "args": args, "kwargs": kwargs, "timeout": timeout, "routing_key": routing_key}


def content(response):
    return response.content.decode()


@contextmanager
def failed_call(**values):
    """A failed call in the database."""
    known = {"alias": "default", "service": server.settings.service_name, "function": "orders.fail"}
    where = {"server_host": "host1", "server_pid": 17, "server_uuid": "u", "request_id": "r"}
    error = {"error_type": "ValueError", "message": "<i>none</i>", "traceback": "Traceback <b>"}
    call = FailedCall.objects.create(time=timezone.now(), **{**known, **where, **error, **values})
    yield call
    call.delete()


@pytest.fixture(scope="module", autouse=True)
def _handlers():
    """Import the handlers while all aliases that they are for are there."""
    discover()


@pytest.fixture
def no_broker(settings_of_amphora):
    """Settings whose broker is not there, and little patience."""
    url = f"amqp://shop:highly%20secret@127.0.0.1:{port_for.select_random()}//"
    with settings_of_amphora(default={"SERVICE_NAME": "adrift", "BROKER_URL": url, "QUEUES": ["late"]}):
        yield


@pytest.fixture
def settings_of_amphora():
    return lambda **aliases: override_settings(AMPHORA=aliases)


@pytest.mark.parametrize("page", [SERVICES, SERVICE, CALL, FAILED])
def test_staff_without_a_permission_see_nothing(page):
    browser = browser_of()

    assert browser.get(page).status_code == 403
    assert "amphora" not in content(browser.get("/admin/"))


def test_who_is_not_logged_in_is_asked_to():
    response = Client().post(CALL, calling("add", "[1, 2]"))

    assert response.status_code == 302
    assert response.headers["Location"].startswith("/admin/login/")


def test_who_may_view_sees_services_and_functions_and_cannot_call():
    browser = browser_of("view_service")

    services, service = content(browser.get(SERVICES)), content(browser.get(SERVICE))

    assert SERVICE in services
    assert SERVICES in content(browser.get("/admin/"))
    assert re.search(r"orders\.total</strong>\(order_id\)", service)
    assert "Return the total of an order." in service
    assert "orders.rpc" in service
    assert CALL not in service
    assert "Last errors" not in service
    for response in (browser.get(CALL), browser.post(CALL, calling("add", "[1, 2]"))):
        assert response.status_code == 403


def test_who_may_call_gets_the_result_and_it_is_logged():
    browser = browser_of("call_service")
    browser.get(SERVICE)

    with server:
        response = browser.post(CALL, calling("orders.total", kwargs='{"order_id": 42}'))

    outcome = response.context["outcome"]
    assert json.loads(outcome.text) == {"order": 42, "total": 420}
    assert "&quot;total&quot;: 420" in content(response)
    entry = LogEntry.objects.latest("action_time")
    assert (entry.user_id, entry.object_id) == (int(browser.session["_auth_user_id"]), "default")
    assert entry.change_message.startswith("Called orders.total: returned after")
    assert "42" not in entry.object_repr
    assert entry.get_admin_url() == SERVICE
    assert entry.change_message in content(browser.get(SERVICE))


@pytest.mark.expects_errors("ValueError")
def test_what_a_function_raises_is_shown_as_text_and_logged():
    browser = browser_of("call_service")

    with server:
        response = browser.post(CALL, calling("orders.fail", '["<script>alert(1)</script>"]'))

    assert "<script>alert(1)" not in content(response)
    assert "<strong>ValueError</strong>: &lt;script&gt;alert(1)&lt;/script&gt;" in content(response)
    assert "it raised ValueError" in LogEntry.objects.latest("action_time").change_message


def test_the_name_of_a_remote_error_is_of_bounded_length_and_without_control_characters():
    browser = browser_of("call_service")
    error = type("Bad\u202e" + "x" * 100_000, (Exception,), {})

    def fail():
        raise error("y" * 1_000_000)

    with override_settings(AMPHORA={"default": {"SERVICE_NAME": SERVICE_NAME, "BROKER_URL": "memory://"}}):
        remote = AmqpRpcServer(SERVICE_NAME, broker_url="memory://")
        remote.add_function(fail)
        with remote:
            response = browser.post(CALL, calling("fail"))

    outcome = response.context["outcome"]
    assert outcome.error_type.startswith("Bad\\u202exxx")
    assert len(outcome.error_type) < 300
    assert len(outcome.text) <= 100_000
    assert len(LogEntry.objects.latest("action_time").change_message) < 500


def test_a_call_that_the_service_cannot_take_says_why():
    browser = browser_of("call_service")

    with server:
        unknown = browser.post(CALL, calling("orders.nothing")).context["outcome"]
        unbound = browser.post(CALL, calling("add", "[1, 2]", routing_key="nowhere", timeout="0.2")).context["outcome"]

    assert (unknown.error_type, unknown.remote) == ("WrongRequest", False)
    assert "orders.nothing" in unknown.text
    # The memory transport does not say that no queue takes a request.
    assert unbound.error_type in ("NoResult", "Unroutable")


def test_results_that_no_page_or_json_can_hold_are_shown_as_far_as_possible(monkeypatch):
    monkeypatch.setattr(admin_calls, "_SHOWN", 20)
    browser = browser_of("call_service")

    for args, shown in (('["\\ud800", "a"]', '"\\ud800a"'), ('["x", "' + "y" * 50 + '"]', '"x' + "y" * 18)):
        with server:
            response = browser.post(CALL, calling("add", args))
        assert response.context["outcome"].text == shown
    assert response.context["outcome"].cut == 53
    assert admin_calls._readable({"when": b"\xff"}) == "{'when': b'\\xff'}"


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("args", "[1, 2", "This is no JSON"),
        ("args", '{"a": 1}', "must be a JSON list"),
        ("args", "[" * 100_000, "nested too deeply"),
        ("kwargs", "[1]", "must be a JSON object"),
        ("kwargs", "NULL", "This is no JSON"),
        ("timeout", "0", "greater than or equal to 0.1"),
        ("timeout", "nan", "Enter a number"),
        ("function", "", "required"),
    ],
)
def test_what_is_typed_wrongly_is_not_sent(monkeypatch, field, value, error):
    monkeypatch.setattr("amphora.contrib.django.admin.make_call", lambda *_: pytest.fail("a call was made"))
    browser = browser_of("call_service")

    response = browser.post(CALL, {**calling("add", "[1, 2]"), field: value})

    assert error in str(response.context["form"].errors[field])


def test_a_call_holds_no_transaction_open():
    assert resolve(CALL).func._non_atomic_requests == {"default"}


def test_a_form_of_another_site_is_refused():
    browser = browser_of("call_service", enforce_csrf_checks=True)

    assert browser.post(CALL, calling("add", "[1, 2]")).status_code == 403


def test_only_who_may_see_failed_calls_sees_the_last_errors():
    with failed_call() as failed:
        page = content(browser_of("view_service", "view_failedcall").get(SERVICE))
        assert "&lt;i&gt;none&lt;/i&gt;" in page
        assert f"{FAILED}{failed.pk}/change/" in page
        assert "host1, 17" in page

        assert "host1" not in content(browser_of("call_service").get(SERVICE))


def test_failed_calls_can_be_searched_and_not_changed():
    browser = browser_of("view_failedcall")
    with failed_call(request_id="rq-17") as failed, failed_call(function="orders.other"):
        listed = content(browser.get(FAILED, {"q": "rq-17"}))
        assert "orders.fail" in listed
        assert "orders.other" not in listed

        address = f"{FAILED}{failed.pk}/change/"
        assert "Traceback &lt;b&gt;" in content(browser.get(address))
        assert browser.post(address, {"message": "changed"}).status_code == 403
        assert browser.get(f"{FAILED}add/").status_code == 403
        assert browser.post(f"{FAILED}{failed.pk}/delete/", {"post": "yes"}).status_code == 403


def test_a_broker_that_is_not_there_costs_the_page_its_queues_only(no_broker, monkeypatch):
    monkeypatch.setattr(admin_services, "STATUS_TIMEOUT", 0.1)
    browser = browser_of("call_service")

    services, service = content(browser.get(SERVICES)), content(browser.get(SERVICE))
    outcome = browser.post(CALL, calling("add", "[1, 2]", timeout="0.2")).context["outcome"]

    for page in (services, service):
        assert "Broker not reachable." in page
        assert "adrift" in page
        assert "highly secret" not in page
    assert outcome.error_type == "NoResult"


def test_wrong_settings_are_shown_and_no_error_page(settings_of_amphora):
    browser = browser_of("view_service")

    with settings_of_amphora(default={"SERVICE_NAME": "shop", "TIMEOUTS": 5}):
        assert "did you mean &#x27;TIMEOUT&#x27;" in content(browser.get(SERVICES))
        assert browser.get(SERVICE).status_code == 404
    with settings_of_amphora(default={"SERVICE_NAME": "shop", "BROKER_URL": "gopher://there"}):
        assert "must begin with amqp://" in content(browser.get(SERVICE))


def test_an_alias_may_be_any_text(settings_of_amphora):
    browser = browser_of("call_service")

    with settings_of_amphora(**{"a/b _c?<": {"SERVICE_NAME": "odd", "BROKER_URL": "memory://"}}):
        (link,) = re.findall(r'<a href="([^"]*/change/)">odd<', content(browser.get(SERVICES)))
        page = content(browser.get(link))
        (form,) = set(re.findall(r'href="([^"]*/call/)"', page))
        assert "a/b _c?&lt;" in page
        assert browser.get(form).status_code == 200


def test_handlers_that_cannot_be_imported_are_named(monkeypatch):
    def discover():
        raise HandlersNotImported("orders.rpc cannot be imported: SyntaxError: <a colon> is missing")

    monkeypatch.setattr("amphora.contrib.django.lazy_server.discover", discover)
    browser = browser_of("view_service")

    assert "SyntaxError: &lt;a colon&gt; is missing" in content(browser.get(SERVICE))
    assert "not importable" in content(browser.get(SERVICES))


NOT_PATCHED = f"""
import json, sys
import django; django.setup()
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client, override_settings

call_command("migrate", verbosity=0)
browser = Client()
browser.force_login(User.objects.create_superuser("root"))
fields = {calling("add", "[1, 2]")!r}

def ask():
    answers = browser.get({SERVICES!r}), browser.get({SERVICE!r}), browser.post({CALL!r}, fields)
    return [(answer.status_code, answer.content.decode()) for answer in answers]

pages = [ask()]
settings.AMPHORA["default"]["THREADED"] = True
with override_settings(AMPHORA={{"default": settings.AMPHORA["default"]}}):
    pages.append(ask())
print(json.dumps(pages))
"""


def test_a_process_that_is_not_patched_says_what_to_do_or_calls_from_a_thread(
    broker, service, settings_of_amphora, start_program, tmp_path
):
    with settings_of_amphora(default={"SERVICE_NAME": f"django_shop{service}", "BROKER_URL": broker.url}), server:
        program = start_program(
            "-c",
            NOT_PATCHED,
            env={
                "DJANGO_SETTINGS_MODULE": "shop.settings",
                "PYTHONPATH": os.pathsep.join((str(Path.cwd()), str(PROJECTS / "shop"))),
                "SHOP_BROKER_URL": broker.url,
                "SHOP_DATABASE": str(tmp_path / "db.sqlite3"),
                "SHOP_SUFFIX": service,
            },
        )
        assert program.wait(90) == 0, program.output
    unpatched, threaded = json.loads(program.lines[-1])

    for status, page in unpatched:
        assert status == 200
        assert "functions cannot be called in this process" in page
        assert "from gevent import monkey; monkey.patch_all()" in page
        assert "AMPHORA[&#x27;default&#x27;][&#x27;THREADED&#x27;] = True" in page
    assert "Return the total of an order." in unpatched[1][1]
    assert re.search(r'value="Call" disabled', unpatched[2][1])

    for status, page in threaded:
        assert status == 200
        assert "functions cannot be called" not in page
    assert f"rpc_django_shop{service}_request" in threaded[1][1]
    assert re.search(r'id="amphora-result"[^>]*>3<', threaded[2][1])


def test_the_migrations_are_those_of_the_models_and_a_dump_takes_the_tables_only(capsys):
    call_command("makemigrations", "amphora", check=True, dry_run=True, verbosity=0)

    with failed_call(function="dumped"):
        call_command("dumpdata", "amphora", use_base_manager=True)
    assert {row["model"] for row in json.loads(capsys.readouterr().out)} == {"amphora.failedcall"}


def test_queues_are_counted(broker, settings_of_amphora, service):
    label = f"{service}_label"
    browser = browser_of("view_service")
    amphora = {"SERVICE_NAME": service, "BROKER_URL": broker.url, "QUEUES": [label, f"{label}_2"]}

    with settings_of_amphora(default=amphora):
        client.create_new_request_queue(label)
        client.defer.add(1, 2)
        queues = browser.get(SERVICE).context["queues"]
        rows = re.findall(r"<td class=\"amphora-number\">(\d+)</td>", content(browser.get(SERVICE)))

    assert queues.broker == broker.url.replace(":guest@", "@")
    own, first, second = queues.all
    assert (own.name, own.status) == (f"rpc_{service}_request", (1, 0))
    assert (first.status, second.status) == ((0, 0), None)
    assert rows == ["1", "0", "0", "0"]
