"""`Amphora(app)` and `setup(app)`: what an application gets, and when."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import ImproperlyConfigured
from celery.signals import celeryd_after_setup

from amphora import AmqpRpcClient, AmqpRpcFanoutClient, AmqpRpcFanoutServer, AmqpRpcServer
from amphora.contrib.celery import Amphora, setup
from tests.contrib.celery.conftest import NewApp

ROOT = Path(__file__).parents[3]

#: What a web process or `celery beat` does with an application that has Amphora.
IMPORTS = """
import sys, threading
from celery import Celery
from amphora.contrib.celery import Amphora

app = Celery("shop", broker="amqp://127.0.0.1:1//")
app.conf.amphora_service_name = "shop"
Amphora(app)

@app.amphora.server.add_function
def price(item):
    return 3

@app.amphora.fanout_server.add_function
def forget(item): ...

@app.task(amphora=True)
def order(item): ...

assert not app.configured and not app.finalized, "nothing is read at import"
print(sorted(name for name in app.tasks if not name.startswith("celery.")))
print(app.amphora.client, app.amphora.server)
from gevent import monkey
assert not monkey.is_module_patched("socket")
assert threading.active_count() == 1
assert "greenlet" not in sys.modules or not app.amphora.client.made
try:
    app.amphora.server.serve()
except RuntimeError as error:
    print(str(error).partition(".")[0])
"""


def test_an_application_gets_servers_clients_and_settings(app: Any, service: str) -> None:
    attached = app.amphora

    assert attached.server.service_name == attached.client.service_name == service
    assert attached.fanout_server.service_name == attached.fanout_client.service_name == f"{service}_fanout"
    assert type(attached.server.real) is AmqpRpcServer
    assert type(attached.fanout_server.real) is AmqpRpcFanoutServer
    assert type(attached.client.real) is AmqpRpcClient
    assert type(attached.fanout_client.real) is AmqpRpcFanoutClient
    assert repr(attached) == f"<Amphora of {app!r}>"


def test_the_fanout_service_can_have_another_name(new_app: NewApp, service: str) -> None:
    app = new_app(amphora_fanout_service_name=f"{service}_everybody")

    assert app.amphora.fanout_client.real.service_name == f"{service}_everybody"


def test_a_function_is_called(app: Any) -> None:
    @app.amphora.server.add_function
    def double(x: int) -> int:
        return 2 * x

    @app.amphora.server.add_function("by.name")
    def named(x: int) -> int:
        return x

    app.amphora.server.add_function(lambda: "later", name="later")
    with app.amphora.server, app.amphora.client as client:
        assert client.call.double(2) == 4
        assert client.call.by.name(2) == 2
        assert client.defer.later().get(timeout=20) == "later"

        app.amphora.server.add_function(lambda: "latest", name="latest")
        assert client.call.latest() == "latest"


def test_a_fanout_function_is_called(app: Any) -> None:
    app.amphora.fanout_server.add_function(lambda: "everybody", name="who")

    with app.amphora.fanout_server as server:
        assert server.wait_connected(20)
        assert app.amphora.fanout_client.call.who() == "everybody"


@pytest.mark.parametrize("mistake", [{}, {"func": "name", "name": "other"}, {"func": 3}, {"func": len, "name": 3}])
def test_mistakes_with_functions_are_told_at_once(app: Any, mistake: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        app.amphora.server.add_function(**mistake)


def test_two_functions_cannot_have_one_name(app: Any) -> None:
    app.amphora.server.add_function(len, name="f")
    app.amphora.server.add_function(len, name="f")

    with pytest.raises(ValueError, match="already a remote function 'f'"):
        app.amphora.server.add_function(max, name="f")


def test_tuning_functions_and_middleware_are_there_whenever_the_endpoint_is_made(app: Any) -> None:
    seen: list[str] = []
    client, server = app.amphora.client, app.amphora.server

    @client.tune_function("double")
    def tuned(args: Any, kwargs: Any) -> None:
        seen.append("tuned")

    @client.add_middleware
    def sending(request: Any, send: Any) -> Any:
        seen.append("sending")
        return send()

    @server.add_middleware
    def running(request: Any, call: Any) -> Any:
        seen.append("running")
        return call()

    server.add_function(lambda x: 2 * x, name="double")
    with server:
        assert client.call.double(2) == 4
    assert seen == ["tuned", "sending", "running"]


def test_an_endpoint_that_was_reset_is_made_again_from_the_settings_then(app: Any) -> None:
    first = app.amphora.client.real
    app.conf.amphora_timeout = 5

    app.amphora.client.reset()

    assert not app.amphora.client.made
    assert app.amphora.client.real is not first


@pytest.mark.expects_errors("had not confirmed 1 request when the client was stopped")
def test_a_client_that_ends_says_what_it_could_not_send(new_app: NewApp, caplog: pytest.LogCaptureFixture) -> None:
    app = new_app(broker_url="amqp://127.0.0.1:1//")
    app.amphora.client.defer(wait_publish=False).f()

    app.amphora.client.reset()

    assert "had not confirmed 1 request when the client was stopped; what it did not receive is lost: f" in caplog.text


def test_endpoints_of_ones_own_take_the_place_of_those_of_the_settings(service: str) -> None:
    server, client = AmqpRpcServer(service, broker_url="memory://"), AmqpRpcClient(service, broker_url="memory://")
    app = Celery(service, broker="memory://", set_as_current=False)

    Amphora(app, server=server, client=client)
    app.amphora.server.add_function(lambda: 1, name="one")

    assert (app.amphora.server, app.amphora.client) == (server, client)
    with server, client:
        assert client.call.one() == 1
    assert f"amphora.{service}.one" in app.tasks


def test_it_is_attached_once() -> None:
    app = Celery(set_as_current=False)
    attached = setup(app)

    assert setup(app) is app.amphora is attached
    with pytest.raises(ImproperlyConfigured, match=r"has an app\.amphora already"):
        Amphora(app)


def test_importing_an_application_connects_nothing_reads_nothing_and_patches_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )

    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "['amphora.shop.price', 'amphora.shop_fanout.forget', 'shop.order']",
        "<AppClient, not used yet> <AppServer, not used yet>",
        "AmqpRpcServer needs gevent's monkey-patching",
    ]


def test_the_page_s_examples_work(own_tasks: None) -> None:
    page = (ROOT / "docs" / "celery-settings.md").read_text()
    first, functions, tasks = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {"__name__": "shop.tasks"}
    exec(first.replace("amqp://guest@localhost//", "memory://"), names)
    app = names["app"]
    app.conf.result_backend = "cache+memory://"
    app.task(name="shop.tasks.clean")(_clean)
    asked = "app.amphora.client.call.price"
    assert asked in functions

    with app.amphora.server:
        exec(functions.replace(asked, f"answer = {asked}"), names)
        exec(tasks, names)
        served = app.amphora.server.functions
        app.amphora.client.reset()
    app.amphora.server.reset()
    app.close()

    assert names["answer"] == 15
    assert sorted(served) == ["clean", "price", "report", "shop.tasks.resize"]


def _clean() -> None: ...


@pytest.mark.parametrize("endpoint", ["client", "fanout_client", "server", "fanout_server"])
def test_looking_for_attributes_makes_no_endpoint(app: Any, endpoint: str) -> None:
    stand_in = getattr(app.amphora, endpoint)

    assert not hasattr(stand_in, "nonsense")
    assert not hasattr(stand_in, "allow_thread")
    assert callable(stand_in.stats)
    stand_in.stop()
    assert not stand_in.made

    assert stand_in.stats()["reconnects"] == 0
    assert stand_in.made


def test_a_worker_that_starts_makes_no_client(app: Any) -> None:
    celeryd_after_setup.send(sender="worker", instance=SimpleNamespace(app=app), conf=app.conf)

    assert not app.amphora.client.made
    assert not app.amphora.fanout_client.made
