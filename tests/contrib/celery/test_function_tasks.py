"""Remote functions are Celery tasks too, and know where they come from."""

from typing import Any

import pytest
from celery import chain, chord, group, signals
from celery.exceptions import Retry

from amphora import AmqpRpcClient, AmqpRpcServer, IgnoreRequest, current_request
from tests.contrib.celery.conftest import NewApp


@pytest.fixture
def shop(new_app: NewApp) -> Any:
    """An application whose tasks run where they are sent."""
    return new_app(task_always_eager=True, task_eager_propagates=True, result_backend="cache+memory://")


def task_of(app: Any, function: str) -> Any:
    return app.tasks[f"amphora.{app.conf.amphora_service_name}.{function}"]


def test_functions_are_tasks_whether_added_before_the_application_is_finalized_or_after(app: Any, service: str) -> None:
    @app.amphora.server.add_function
    def before(x: int) -> int:
        """Say what was there before."""
        return x

    app.amphora.server.add_function(len, name="list.length")
    app.amphora.fanout_server.add_function(lambda: None, name="everybody")
    app.finalize()
    app.amphora.server.add_function(lambda: None, name="after")

    ours = {name for name in app.tasks if name.startswith("amphora.")}
    assert ours == {
        f"amphora.{service}.before",
        f"amphora.{service}.list.length",
        f"amphora.{service}.after",
        f"amphora.{service}_fanout.everybody",
    }
    assert before(3) == 3
    assert task_of(app, "before").__doc__ == "Say what was there before."


def test_a_chain_a_group_and_a_chord_may_have_functions_in_them(shop: Any) -> None:
    shop.amphora.server.add_function(lambda x: 2 * x, name="double")
    shop.amphora.server.add_function(sum, name="total")
    double, total = task_of(shop, "double"), task_of(shop, "total")

    assert chain(double.s(1), double.s(), app=shop)().get(timeout=20) == 4
    assert group([double.s(1), double.s(2)], app=shop)().get(timeout=20) == [2, 4]
    assert chord([double.s(1), double.s(2)], total.s(), app=shop)().get(timeout=20) == 6


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1, 2), {}), ((1,), {"y": 2})])
def test_arguments_that_a_function_does_not_take_are_refused_where_its_task_is_sent(
    app: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    app.amphora.server.add_function(lambda x: x, name="one")

    with pytest.raises(TypeError, match="argument"):
        task_of(app, "one").apply_async(args, kwargs)


def test_a_plain_server_can_be_registered_with_options_for_its_tasks(app: Any, service: str) -> None:
    server = AmqpRpcServer(f"{service}_other", broker_url="memory://")
    server.add_function(lambda: "early", name="early")

    app.amphora.register(server, time_limit=7)
    app.finalize()
    server.add_function(lambda: "late", name="late")
    app.amphora.register(server, time_limit=7)

    early, late = (app.tasks[f"amphora.{service}_other.{name}"] for name in ("early", "late"))
    assert (early.time_limit, late.time_limit) == (7, 7)
    assert (early(), late()) == ("early", "late")
    server.add_function(lambda: app.current_task.name, name="whoami")
    app.amphora.register(server)
    with server, AmqpRpcClient(server.service_name, broker_url="memory://") as client:
        assert client.call.whoami() == f"amphora.{service}_other.whoami"


def test_a_function_that_ignores_its_request_is_tried_again_as_a_task(shop: Any) -> None:
    tries: list[int] = []

    @shop.amphora.server.add_function
    def busy() -> str:
        tries.append(len(tries))
        raise IgnoreRequest

    task = task_of(shop, "busy")
    # As a worker would call it.
    task.push_request(id="1", called_directly=False, is_eager=False, args=(), kwargs={})
    sent = []
    task.signature_from_request = lambda *_, **options: sent.append(options) or _Sent()
    with pytest.raises(Retry):
        task.run()
    task.pop_request()

    assert [options["countdown"] for options in sent] == [1.0]
    # Called directly, and eagerly, there is nobody else to give it to.
    with pytest.raises(IgnoreRequest):
        task()
    with pytest.raises(IgnoreRequest):
        task.delay()
    assert len(tries) == 3


class _Sent:
    def apply_async(self) -> None: ...


def test_a_function_runs_as_its_task_and_knows_the_request(app: Any, service: str) -> None:
    @app.amphora.server.add_function
    def whoami() -> list[Any]:
        task = app.current_task
        request = current_request()
        assert request is not None
        return [task.name, app.current_worker_task.name, task.request.id == request.id, task.request.root_id]

    @app.amphora.client.add_middleware
    def rooted(request: Any, send: Any) -> Any:
        request.headers["celery_root_id"] = "the root"
        return send()

    with app.amphora.server:
        answer = app.amphora.client.call.whoami()

    assert answer == [f"amphora.{service}.whoami", f"amphora.{service}.whoami", True, "the root"]
    assert app.current_task is None


def test_what_a_function_sends_to_celery_has_its_request_for_a_parent(app: Any) -> None:
    sent: list[dict[str, Any]] = []

    @app.task(name="child")
    def child() -> None: ...

    @app.amphora.server.add_function
    def send() -> str:
        child.delay()
        request = current_request()
        assert request is not None
        return str(request.id)

    @app.amphora.client.add_middleware
    def traced(request: Any, send: Any) -> Any:
        request.headers.update(celery_root_id="the root", traceparent="00-0af7651916cd43dd8448eb211c80319c-01-01")
        return send()

    @signals.before_task_publish.connect
    def published(headers: dict[str, Any], **_: Any) -> None:
        sent.append(headers)

    with app.amphora.server:
        request_id = app.amphora.client.call.send()

    (headers,) = sent
    assert (headers["root_id"], headers["parent_id"]) == ("the root", request_id)
    assert headers["traceparent"] == "00-0af7651916cd43dd8448eb211c80319c-01-01"


@pytest.mark.expects_errors("no amphora_service_name")
def test_a_function_without_a_service_name_is_reported_and_the_rest_goes_on(
    app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app.conf.amphora_service_name = None
    app.amphora.server.add_function(lambda: None, name="f")

    assert [name for name in app.tasks if not name.startswith("celery.")] == []
    assert "no amphora_service_name: set app.conf.amphora_service_name" in caplog.text
