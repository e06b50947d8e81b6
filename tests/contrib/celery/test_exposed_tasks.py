"""Celery tasks as remote functions: which, under what names, and how they run inline."""

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from celery import Task, shared_task, signals
from celery.exceptions import Ignore, ImproperlyConfigured, Reject, SoftTimeLimitExceeded

from amphora import NoResult, RemoteException

Call = Callable[..., Any]


@pytest.fixture
def call(app: Any) -> Call:
    """Call a function of the application's own server, by its name."""

    def call(name: str, *args: Any, timeout: float = 20.0, **kwargs: Any) -> Any:
        app.amphora.server.serve()
        return app.amphora.client.call(function_name=name, timeout=timeout)(*args, **kwargs)

    return call


# Which.


def test_tasks_are_exposed_by_option_by_call_and_by_decorator(app: Any, service: str) -> None:
    expose = app.amphora.expose

    @app.task(amphora=True)
    def by_option() -> str:
        return "option"

    @app.task(name="shop.named", amphora={"name": "named"})
    def with_name() -> str:
        return "named"

    @app.task(name="shop.called")
    def called() -> str:
        return "called"

    @expose(name="decorated")
    @app.task(name="shop.decorated")
    def decorated() -> str:
        return "decorated"

    @app.task(name="shop.hidden")
    def hidden() -> None: ...

    assert expose(called) is called
    expose("shop.called", name="again")

    functions = app.amphora.server.functions
    own = f"{__name__}.by_option"
    assert sorted(functions) == sorted([own, "named", "shop.called", "again", "decorated"])
    assert [functions[name]() for name in ("named", "again", "decorated")] == ["named", "called", "decorated"]
    # They are tasks already.
    assert not [name for name in app.tasks if name.startswith("amphora.")]


def test_a_shared_task_is_exposed_by_its_option(app: Any) -> None:
    @shared_task(name=f"{app.main}.shared", amphora={"name": "shared"})
    def shared() -> None: ...

    assert "shared" in app.amphora.server.functions


def test_tasks_that_come_later_are_exposed_too(app: Any, call: Call) -> None:
    app.finalize()

    @app.amphora.expose
    @app.task(name="late")
    def late(x: int) -> int:
        return x + 1

    assert call("late", 1) == 2


@pytest.mark.parametrize("option", ["inlin", 3, {"vai": "queue"}, {"via": "now"}])
@pytest.mark.expects_errors("task wrong: ")
def test_an_option_that_makes_no_sense_is_told_with_the_task(app: Any, option: Any) -> None:
    @app.task(name="wrong", amphora=option)
    def wrong() -> None: ...

    with pytest.raises(ImproperlyConfigured, match="task wrong: amphora"):
        app.amphora.server.serve()


def test_a_way_that_does_not_exist_is_told_at_once(app: Any) -> None:
    with pytest.raises(ValueError, match="must be 'inline' or 'queue', not 'queued'; did you mean 'queue'"):
        app.amphora.expose("any", via="queued")
    with pytest.raises(ValueError, match="must be 'inline' or 'queue'"):
        app.amphora.expose(via="queued")


@pytest.mark.expects_errors("no task 'no.such.task'")
def test_a_task_that_does_not_exist_is_told_when_it_is_needed(app: Any) -> None:
    app.amphora.expose("no.such.task")

    with pytest.raises(ImproperlyConfigured, match=r"no task 'no\.such\.task' .* is its module imported"):
        app.amphora.server.serve()


@pytest.mark.expects_errors("no result backend")
def test_waiting_for_a_result_needs_a_result_backend(app: Any) -> None:
    @app.task(name="report", amphora="queue")
    def report() -> None: ...

    with pytest.raises(ImproperlyConfigured, match="report is exposed with via='queue', and there is no result back"):
        app.amphora.server.serve()


# Inline.


def test_a_task_has_a_request_of_its_own(app: Any, call: Call) -> None:
    @app.task(bind=True, name="whoami", amphora=True, time_limit=60, soft_time_limit=50)
    def whoami(self: Any, x: int) -> dict[str, Any]:
        request = self.request
        return {
            "args": [list(request.args), request.kwargs],
            "root": [request.root_id == request.id, request.parent_id],
            "limits": list(request.timelimit),
            "eager": request.is_eager,
            "current": app.current_task.name,
            "id": request.id,
        }

    answer = call("whoami", 1)

    assert answer.pop("id")
    assert answer == {
        "args": [[1], {}],
        "root": [True, None],
        "limits": [60, 50],
        "eager": True,
        "current": "whoami",
    }


@pytest.mark.expects_errors("raised unexpected: ")
def test_hooks_and_signals_are_those_of_any_task(app: Any, call: Call) -> None:
    seen: list[Any] = []

    class Hooked(Task):  # type: ignore[misc]
        def before_start(self, *_: Any) -> None:
            seen.append("before_start")

        def on_success(self, retval: Any, *_: Any) -> None:
            seen.append(["on_success", retval])

        def on_failure(self, error: Any, *_: Any) -> None:
            seen.append(["on_failure", str(error)])

        def after_return(self, status: str, *_: Any) -> None:
            seen.append(["after_return", status])

    def note(name: str) -> Callable[..., None]:
        def noted(sender: Any = None, **_: Any) -> None:
            if sender.name == "hooked":
                seen.append(name)

        return noted

    receivers = {name: note(name) for name in ("task_prerun", "task_postrun", "task_success", "task_failure")}
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver)

    @app.task(name="hooked", base=Hooked, amphora=True)
    def hooked(fails: bool) -> str:
        if fails:
            raise ValueError("no")
        return "yes"

    call("hooked", False)
    with pytest.raises(RemoteException, match="ValueError: no"):
        call("hooked", True)

    assert seen == [
        *("task_prerun", "before_start", ["on_success", "yes"], "task_success", ["after_return", "SUCCESS"]),
        "task_postrun",
        *("task_prerun", "before_start", ["on_failure", "no"], "task_failure", ["after_return", "FAILURE"]),
        "task_postrun",
    ]


class Unpicklable(Exception):
    def __init__(self, text: str, what: object) -> None:
        super().__init__(text)
        self.what = what


@pytest.mark.expects_errors("raised unexpected: ")
def test_an_exception_reaches_the_caller_even_one_that_celery_could_not_store(app: Any, call: Call) -> None:
    @app.task(name="fail", amphora=True, throws=(Unpicklable,))
    def fail() -> None:
        raise Unpicklable("no", lambda: None)

    with pytest.raises(RemoteException) as caught:
        call("fail")

    assert (caught.value.error_type, caught.value.args) == ("Unpicklable", ("no",))


def test_a_retry_is_refused_with_what_failed_and_what_to_do(app: Any, call: Call) -> None:
    @app.task(bind=True, name="retrying", amphora=True)
    def retrying(self: Any) -> None:
        try:
            raise ValueError("not now")
        except ValueError as error:
            raise self.retry(exc=error) from error

    @app.task(name="by_itself", amphora=True, autoretry_for=(ValueError,))
    def by_itself() -> None:
        raise ValueError("not now")

    @app.task(bind=True, name="plain", amphora=True)
    def plain(self: Any) -> None:
        self.retry()

    @app.task(bind=True, name="going_on", amphora=True)
    def going_on(self: Any) -> str:
        self.retry(throw=False)
        return "and now nobody knows"

    refused = {}
    for name in ("retrying", "by_itself", "plain", "going_on"):
        with pytest.raises(RemoteException) as caught:
            call(name)
        refused[name] = (caught.value.error_type, str(caught.value.args[0]))

    assert {kind for kind, _ in refused.values()} == {"RetryRefused"}
    assert "task retrying cannot be retried where it runs inline" in refused["retrying"][1]
    assert "it failed with ValueError: not now (expose it with via='queue'" in refused["retrying"][1]
    assert "it failed with ValueError: not now" in refused["by_itself"][1]
    assert "inline as a remote function (expose" in refused["plain"][1]


def test_time_limits_hold(app: Any, call: Call) -> None:
    @app.task(name="soft", amphora=True, soft_time_limit=0.1, time_limit=60)
    def soft() -> str:
        try:
            gevent.sleep(60)
        except SoftTimeLimitExceeded:
            return "tidied up"
        return "too late"

    @app.task(name="hard", amphora=True, time_limit=0.1)
    def hard() -> None:
        gevent.sleep(60)

    assert call("soft") == "tidied up"
    with pytest.raises(RemoteException) as caught:
        call("hard")
    assert caught.value.error_type == "TimeLimitExceeded"


def test_what_a_task_rejects_goes_to_another_server_and_what_it_ignores_is_told(app: Any, call: Call) -> None:
    tries: list[str] = []

    @app.task(name="rejecting", amphora=True)
    def rejecting() -> str:
        tries.append("rejecting")
        if len(tries) == 1:
            raise Reject("busy", requeue=True)
        return "taken"

    @app.task(name="dropping", amphora=True)
    def dropping() -> None:
        raise Reject("never", requeue=False)

    @app.task(name="ignoring", amphora=True)
    def ignoring() -> None:
        raise Ignore

    app.conf.amphora_ignore_delay = 0.0
    assert call("rejecting") == "taken"
    assert len(tries) == 2
    for name, kind in (("dropping", "Reject"), ("ignoring", "Ignore")):
        with pytest.raises(RemoteException) as caught:
            call(name)
        assert caught.value.error_type == kind


def test_calls_of_a_task_that_runs_inline_say_where_they_come_from(app: Any, call: Call) -> None:
    @app.amphora.server.add_function
    def headers() -> dict[str, Any]:
        request = app.current_task.request
        return {"root": request.root_id, "parent": request.parent_id, "caller": request.headers["celery_task"]}

    @app.task(bind=True, name="outer", amphora=True)
    def outer(self: Any) -> list[Any]:
        return [self.request.id, app.amphora.client.call.headers()]

    request_id, told = call("outer")

    assert told == {"root": request_id, "parent": request_id, "caller": "outer"}


def test_the_deadline_of_a_task_ends_its_calls(app: Any, call: Call) -> None:
    @app.amphora.server.add_function
    def slow() -> None:
        gevent.sleep(60)

    @app.task(name="limited", amphora=True, time_limit=0.5)
    def limited() -> str:
        try:
            app.amphora.client.call.slow()
        except NoResult:
            return "no result"
        return "too late"

    # Whichever is first: the limit, or the deadline that the call has from it.
    try:
        ended = call("limited")
    except RemoteException as error:
        ended = error.error_type
    assert ended in ("no result", "TimeLimitExceeded")
