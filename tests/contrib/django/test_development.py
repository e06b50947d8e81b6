"""When `manage.py runserver` is run again, patched; what comes of it is in test_web_servers.py."""

import sys
from collections.abc import Iterator

import pytest
from django.test import override_settings

from amphora.contrib.django import development, reloading


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An unpatched `manage.py runserver --noreload`; gives what it was run again for."""
    runs: list[str] = []
    monkeypatch.setattr(sys, "argv", ["manage.py", "runserver", "--noreload"])
    monkeypatch.setattr(development, "is_patched", lambda: False)
    monkeypatch.setattr(development, "run_again_patched", lambda: runs.append("again"))
    monkeypatch.setattr(development, "get_commands", lambda: {"runserver": "django.contrib.staticfiles"})
    monkeypatch.delenv("RUN_MAIN", raising=False)
    return runs


def test_runserver_is_run_again(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    development.patch_runserver()

    assert runs == ["again"]
    assert "under gevent's monkey-patching" in capsys.readouterr().out


def test_of_the_two_processes_of_a_reloading_runserver_the_one_that_serves_is(
    runs: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", "runserver"])
    development.patch_runserver()
    assert runs == []
    assert "under gevent's monkey-patching" in capsys.readouterr().out

    monkeypatch.setenv("RUN_MAIN", "true")
    development.patch_runserver()

    assert runs == ["again"]
    # Once is enough.
    assert capsys.readouterr().out == ""


def test_other_commands_are_not(runs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", "migrate"])

    development.patch_runserver()

    assert runs == []


def test_a_runserver_on_an_asyncio_event_loop_is_not(runs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(development, "get_commands", lambda: {"runserver": "daphne"})

    development.patch_runserver()

    assert runs == []


@override_settings(AMPHORA_PATCH_RUNSERVER=False)
def test_it_can_be_switched_off(runs: list[str]) -> None:
    development.patch_runserver()

    assert runs == []


def test_a_program_that_cannot_be_run_again_serves_without_calls(
    runs: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise development.CommandError("Python reads it from a terminal")

    monkeypatch.setattr(development, "run_again_patched", refuse)

    development.patch_runserver()

    assert capsys.readouterr().err == "Amphora: Python reads it from a terminal\n"


@pytest.mark.expects_errors("trying again")
def test_an_error_of_the_reloader_does_not_end_the_watch_for_changes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ticks = [OSError("the directory is gone"), SystemExit(3)]

    class Reloader:
        def tick(self) -> Iterator[None]:
            raise ticks.pop(0)
            yield

        def watch_dir(self, *_: object) -> None: ...

        def stop(self) -> None: ...

    monkeypatch.setattr(reloading, "_reloader", Reloader)
    monkeypatch.setattr(reloading, "_AGAIN", 0.01)
    seen: list[str] = []

    reloading.watch(seen.append)

    assert seen == ["Code has changed: reloading"]
    assert "the directory is gone" in caplog.text
