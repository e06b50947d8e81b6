"""The backend for Django's tasks."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import django
import pytest
from django.core.cache import caches
from django.test import override_settings
from django.utils import timezone

from amphora import MessageTooLarge
from amphora.contrib.django import client, clients, server
from amphora.contrib.django.testing import ProjectServices
from tests.conftest import StartProgram
from tests.contrib.django.manage import PROJECTS
from tests.support.broker import Broker
from tests.support.consoles import entries
from tests.support.eventually import wait_until
from tests.support.pages import Reading
from tests.support.processes import ROOT

if django.VERSION < (6, 0):
    pytest.skip("Django has tasks since 6.0", allow_module_level=True)

from asgiref.sync import async_to_sync
from django.tasks import TaskResultStatus, task, task_backends
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist
from django.tasks.signals import task_enqueued, task_finished, task_started

from amphora.contrib.django.tasks.backend import RUN_TASK

# Many of these tasks fail, which Django and the backend log.
pytestmark = pytest.mark.expects_errors(r"^ERROR django\.tasks: ", r"^ERROR amphora\.contrib\.django\.(requests|tasks)")

BACKEND = "amphora.contrib.django.tasks.AmphoraBackend"


@task
def add(x, y):
    """Add two numbers."""
    return x + y


@task
def fail(text):
    """Raise a ValueError."""
    raise ValueError(text)


@task
def leave():
    """End the program, as it thinks."""
    sys.exit(3)


@task(takes_context=True)
def attempt(context, *, suffix):
    """Tell which attempt this is."""
    return f"{context.attempt}{suffix}"


@task
def return_an_object():
    """Return what JSON does not know."""
    return object()


no_task = add.func


async def later():
    """Do nothing, asynchronously."""


def tasks(**options):
    return override_settings(TASKS={"default": {"BACKEND": BACKEND, "QUEUES": ["default", "mail"], "OPTIONS": options}})


def at_files(directory: Path):
    files = {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": str(directory)}
    nowhere = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    return override_settings(CACHES={"default": nowhere, "files": files})


@pytest.fixture
def rpc(tmp_path: Path) -> Iterator[ProjectServices]:
    """Tasks run in this process; their results are kept in files."""
    with at_files(tmp_path), tasks(RESULT_CACHE="files"), ProjectServices() as services:
        yield services


@pytest.fixture
def signals() -> Iterator[list[tuple[str, str]]]:
    """Which signals came, with the task's status then."""
    came = []
    receivers = {
        signal: lambda task_result, name=name, **_: came.append((name, str(task_result.status)))
        for name, signal in [("enqueued", task_enqueued), ("started", task_started), ("finished", task_finished)]
    }
    for signal, receiver in receivers.items():
        signal.connect(receiver)
    yield came
    for signal, receiver in receivers.items():
        signal.disconnect(receiver)


def test_a_task_runs_in_a_server_and_its_result_is_found_by_its_id(rpc: ProjectServices):
    before = timezone.now()

    enqueued = add.enqueue(1, y=2)

    assert (enqueued.status, enqueued.attempts, enqueued.is_finished) == (TaskResultStatus.READY, 0, False)
    result = add.get_result(enqueued.id)
    assert (result.status, result.return_value, result.errors) == (TaskResultStatus.SUCCESSFUL, 3, [])
    assert (result.args, result.kwargs, result.task) == ([1], {"y": 2}, add)
    assert before <= result.enqueued_at <= result.started_at <= result.last_attempted_at <= result.finished_at
    assert result.worker_ids == [server.uuid]
    enqueued.refresh()
    assert enqueued.return_value == 3


def test_a_failed_task_tells_its_error(rpc: ProjectServices):
    result = add.get_backend().get_result(fail.enqueue("no such order").id)

    assert result.status == TaskResultStatus.FAILED
    assert result.errors[0].exception_class is ValueError
    assert "in fail" in result.errors[0].traceback
    assert "ValueError: no such order" in result.errors[0].traceback
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value


@pytest.mark.parametrize(("failing", "error"), [(leave, SystemExit), (return_an_object, TypeError)])
def test_whatever_ends_a_task_is_its_failure(rpc: ProjectServices, failing, error):
    result = failing.get_result(failing.enqueue().id)

    assert result.errors[0].exception_class is error


def test_a_task_may_take_its_context(rpc: ProjectServices):
    result = attempt.get_result(attempt.enqueue(suffix="st").id)

    assert result.return_value == "1st"


def test_signals_tell_of_each_step(rpc: ProjectServices, signals):
    add.enqueue(1, 2)
    fail.enqueue("x")

    assert signals == [
        ("started", "RUNNING"),
        ("finished", "SUCCESSFUL"),
        ("enqueued", "READY"),
        ("started", "RUNNING"),
        ("finished", "FAILED"),
        ("enqueued", "READY"),
    ]


def test_a_task_of_another_queue_waits_for_who_receives_from_it(rpc: ProjectServices):
    result = add.using(queue_name="mail").enqueue(1, 2)
    result.refresh()
    assert result.status == TaskResultStatus.READY

    server.receive_from_queue("mail", max_calls=1, timeout=60)

    result.refresh()
    assert result.return_value == 3
    assert result.task.queue_name == "mail"


def test_asynchronous_code_enqueues_too(rpc: ProjectServices):
    result = async_to_sync(add.aenqueue)(1, 2)

    assert async_to_sync(add.aget_result)(result.id).return_value == 3


def test_what_cannot_be_promised_is_refused(rpc: ProjectServices):
    with pytest.raises(InvalidTask, match="run_after"):
        add.using(run_after=timezone.now()).enqueue(1, 2)
    with pytest.raises(InvalidTask, match="priority"):
        add.using(priority=1).enqueue(1, 2)
    with pytest.raises(InvalidTask, match="async"):
        task(later)
    with pytest.raises(InvalidTask, match="'other' is not valid"):
        add.using(queue_name="other").enqueue(1, 2)
    assert rpc.calls == []


def test_a_task_that_comes_again_when_it_is_finished_is_not_run_again(rpc: ProjectServices, signals):
    add.enqueue(1, 2)
    (message,) = rpc.calls[0].args

    client.call(function_name=RUN_TASK)(message)

    assert [name for name, _ in signals].count("started") == 1


def test_a_task_that_comes_again_unfinished_is_run_again(rpc: ProjectServices):
    result = attempt.using(queue_name="mail").enqueue(suffix="nd")
    (message,) = rpc.calls[0].args
    begun = add.get_backend().get_result(result.id)
    begun.worker_ids.append("a worker that died")
    add.get_backend().results.save(begun)

    client.call(function_name=RUN_TASK)(message)

    result.refresh()
    assert (result.return_value, result.attempts) == ("2nd", 2)


@pytest.mark.parametrize(("path", "error"), [("nowhere.add", "has no task nowhere.add"), ("no_task", "is no task")])
def test_a_task_that_the_worker_does_not_have_has_failed(rpc: ProjectServices, path, error):
    result = add.using(queue_name="mail").enqueue(1, 2)
    (message,) = rpc.calls[0].args
    unknown = path if "." in path else f"{__name__}.{path}"

    with pytest.raises(Exception, match=path):
        client.call(function_name=RUN_TASK)({**message, "task": unknown})

    kept = caches["files"].get(f"amphora:task:{result.id}")
    assert kept["status"] == "FAILED"
    assert error in kept["errors"][0][1]


def test_a_cache_that_fails_keeps_no_task_from_running(rpc: ProjectServices, monkeypatch, signals, caplog):
    def fails(*_, **__):
        raise ConnectionError("the cache is down")

    result = add.using(queue_name="mail").enqueue(1, 2)
    monkeypatch.setattr(caches["files"], "_is_expired", fails, raising=False)
    monkeypatch.setattr(type(caches["files"]), "set", fails)
    monkeypatch.setattr(type(caches["files"]), "get", fails)

    server.receive_from_queue("mail", max_calls=1, timeout=60)

    assert signals[-1] == ("finished", "SUCCESSFUL")
    assert "the cache is down" in caplog.text
    with pytest.raises(ConnectionError):
        add.get_result(result.id)
    with pytest.raises(ConnectionError):
        add.enqueue(1, 2)


def test_a_task_that_cannot_be_sent_leaves_no_result(tmp_path: Path):
    small = override_settings(AMPHORA={"default": {"SERVICE_NAME": "small", "MAX_MESSAGE_SIZE": 500}})
    with at_files(tmp_path), tasks(RESULT_CACHE="files"), small, ProjectServices():
        with pytest.raises(MessageTooLarge):
            add.enqueue("x" * 1000, "y")

        assert list(tmp_path.iterdir()) == []


def test_without_a_cache_there_are_no_results():
    with tasks(), ProjectServices() as services:
        backend = task_backends["default"]
        result = add.enqueue(1, 2)

        assert services.calls[0].result.successful()
        assert backend.supports_get_result is False
        with pytest.raises(NotImplementedError, match="RESULT_CACHE"):
            add.get_result(result.id)


def test_a_result_that_is_not_there_does_not_exist(rpc: ProjectServices):
    assert task_backends["default"].supports_get_result is True
    with pytest.raises(TaskResultDoesNotExist):
        add.get_result("nothing")


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        ({}, []),
        ({"RESULT_CACHE": "files", "RESULT_TIMEOUT": None}, []),
        ({"RESULT_CASHE": "files"}, ["unknown option 'RESULT_CASHE'"]),
        ({"RESULT_CACHE": "fils"}, ["'fils', which is not in CACHES"]),
        ({"RESULT_CACHE": "default"}, ["'default', in which no process finds"]),
        ({"ALIAS": "biling"}, ["no alias 'biling'"]),
        ({"ALIAS": "screens"}, ["a fan-out service"]),
    ],
)
def test_options_are_checked(tmp_path, options, texts):
    amphora = {"default": {"SERVICE_NAME": "s"}, "screens": {"SERVICE_NAME": "f", "FANOUT": True}}
    with at_files(tmp_path), tasks(**options), override_settings(AMPHORA=amphora):
        messages = task_backends["default"].check()

    assert len(messages) == len(texts)
    assert all(text in str(message) for text, message in zip(texts, messages, strict=True))


def test_a_worker_that_is_killed_leaves_its_task_to_the_next_one(
    broker: Broker, service: str, start_program: StartProgram, tmp_path: Path, monkeypatch
):
    environment = {
        "TASKED_BROKER_URL": broker.url,
        "TASKED_SERVICE": service,
        "TASKED_RESULTS": str(tmp_path / "cache"),
    }
    project = PROJECTS / "tasked"
    monkeypatch.syspath_prepend(str(project))
    from jobs.tasks import wait_for  # noqa: PLC0415

    go = tmp_path / "go"
    with at_files(tmp_path / "cache"), tasks(RESULT_CACHE="files"), override_settings(AMPHORA=amphora(broker, service)):
        result = wait_for.enqueue(str(go))
        # Nobody has run it yet, and its sender is gone.
        clients.reset()

        worker = start_program(project / "manage.py", "runserver_rpc", "--noreload", env=environment)
        wait_until(go.with_suffix(".attempt1").exists, timeout=60)
        result.refresh()
        assert (result.status, result.attempts) == (TaskResultStatus.RUNNING, 1)
        worker.kill()

        worker = start_program(project / "manage.py", "runserver_rpc", "--noreload", env=environment)
        wait_until(go.with_suffix(".attempt2").exists, timeout=60)
        go.touch()
        wait_until(lambda: result.refresh() or result.is_finished, timeout=60)

        assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, "attempt 2")
        assert len(set(result.worker_ids)) == 2
        assert worker.terminate() == 0, worker.output


@pytest.mark.page("docs/django-tasks.md")
def test_the_worker_of_the_page_runs_its_task(page: Reading, broker: Broker, service: str, start_program, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(PROJECTS / "tasked", project)
    files = page.take_files()
    sending = page.take_one("python")
    (starting,) = entries(page.take("console"))
    (project / "tasked" / "settings.py").open("a").write(files["settings.py"])
    orders = project / "orders"
    orders.mkdir()
    (orders / "tasks.py").write_text(files["orders/tasks.py"])
    # Found as the modules of an app's tasks are.
    (orders / "rpc.py").write_text("import orders.tasks\n")
    settings = project / "tasked" / "settings.py"
    settings.write_text(settings.read_text().replace('"jobs"', '"orders"'))
    environment = {
        "TASKED_BROKER_URL": broker.url,
        "TASKED_SERVICE": service,
        "TASKED_RESULTS": str(tmp_path / "cache"),
    }
    send = (
        "from gevent import monkey; monkey.patch_all()\n"
        "import time, django; django.setup()\n"
        "from orders.tasks import send_receipt\n"
        f"result = {sending.text.strip()}\n"
        "while not result.is_finished: time.sleep(0.05); result.refresh()\n"
        "print(result.status)\n"
    )

    _, manage, *arguments = starting.words
    worker = start_program(project / manage, *arguments, "--noreload", env=environment)
    worker.wait_for_line("taking requests", 60)
    sender = start_program(
        "-c",
        send,
        env={**environment, "DJANGO_SETTINGS_MODULE": "tasked.settings", "PYTHONPATH": f"{project}:{ROOT}"},
    )

    assert sender.wait(60) == 0, sender.output
    assert sender.lines == ["SUCCESSFUL"]


def amphora(broker: Broker, service: str):
    return {"default": {"SERVICE_NAME": service, "BROKER_URL": broker.url, "TIMEOUT": 60}}
