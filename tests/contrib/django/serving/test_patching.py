"""How `runserver_rpc` runs its program again, patched."""

import os
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from amphora.contrib.django import patched, patching
from amphora.contrib.django.management.commands import runserver_rpc


@pytest.fixture
def unpatched(monkeypatch):
    """Let the program pass for one that is not patched, and note what would be executed."""
    executed = []
    monkeypatch.setattr(patching, "is_patched", lambda: False)
    monkeypatch.setattr(os, "execv", lambda _, command: executed.append(command))
    monkeypatch.setenv("AMPHORA_PATCHED_PID", "1")
    return executed


@pytest.mark.parametrize(
    ("command", "again"),
    [
        (["manage.py", "a", "-b"], ["script", "manage.py", "a", "-b"]),
        (["-X", "dev", "-Wd", "-uB", "manage.py"], ["-X", "dev", "-Wd", "-uB", "script", "manage.py"]),
        (["-W", "ignore", "--", "-odd.py", "x"], ["-W", "ignore", "script", "-odd.py", "x"]),
        (["--check-hash-based-pycs", "never", "m.py"], ["--check-hash-based-pycs", "never", "script", "m.py"]),
        (["-m", "django", "a"], ["module", "django", "a"]),
        (["-uBm", "django", "-m"], ["-uB", "module", "django", "-m"]),
        (["-Imdjango"], ["-I", "module", "django"]),
        (["-c", "print()", "-x"], ["code", "print()", "-x"]),
    ],
)
def test_the_interpreter_gets_its_own_options_and_the_program_the_rest(monkeypatch, unpatched, command, again):
    monkeypatch.setattr(sys, "orig_argv", ["python", *command])
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    kind = next(index for index, word in enumerate(again) if word in ("script", "module", "code"))
    if again[kind] == "script":
        again = [*again[: kind + 1], str(Path.cwd() / again[kind + 1]), *again[kind + 2 :]]

    patching.run_again_patched()

    assert unpatched == [[sys.executable, *again[:kind], patched.__file__, *again[kind:]]]


@pytest.mark.parametrize("command", [[], ["-"], ["-i"]])
def test_a_program_from_a_terminal_or_a_pipe_cannot_be_run_again(monkeypatch, unpatched, command):
    monkeypatch.setattr(sys, "orig_argv", ["python", *command])

    with pytest.raises(CommandError, match="terminal or a pipe") as error:
        patching.run_again_patched()

    assert "monkey.patch_all()" in str(error.value)
    assert unpatched == []


def test_what_is_not_patched_the_second_time_either_is_not_run_a_third_time(monkeypatch, unpatched):
    monkeypatch.setattr(sys, "orig_argv", ["python", "manage.py"])
    patching.run_again_patched()

    with pytest.raises(CommandError, match="run again"):
        patching.run_again_patched()

    assert len(unpatched) == 1


def test_call_command_cannot_patch_and_says_so(monkeypatch):
    monkeypatch.setattr(runserver_rpc, "is_patched", lambda: False)

    with pytest.raises(CommandError, match="call_command"):
        call_command("runserver_rpc")
