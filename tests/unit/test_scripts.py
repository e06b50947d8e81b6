"""The scripts that install other releases of RabbitMQ and run tests on them; no broker is installed or started."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tests.support.side_by_side import read_groups

#: Stands for a Python that runs tests: says what and where, and fails on one of the releases.
PYTHON = f"""
if [ "$2" = tests.support.side_by_side ]; then exec {sys.executable} "$@"; fi
echo "$* in $AMPHORA_RABBITMQ"
case $AMPHORA_RABBITMQ in *4.3*) exit "${{FAILS_ON_4_3:-0}}" ;; esac
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def add_program(tmp_path: Path) -> Callable[[str, str], Path]:
    """Write a shell script that is found before a program of this name."""
    directory = tmp_path / "bin"
    directory.mkdir()

    def add(name: str, text: str) -> Path:
        path = directory / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    return add


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(script: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        settings: Mapping[str, str] = {
            **os.environ,
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "AMPHORA_RABBITMQ_TREES": str(tmp_path / "trees"),
            **environment,
        }
        command = ["sh", str(ROOT / "scripts" / script), *map(str, arguments)]
        return subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.fixture
def installed(tmp_path: Path, add_program: Callable[[str, str], Path]) -> None:
    """Both releases are there, as far as the scripts can tell, and may be run."""
    add_program("id", "echo 0")
    add_program("unshare", "exit 0")
    for release in ("4.0", "4.3"):
        programs = tmp_path / "trees" / release / "amphora"
        programs.mkdir(parents=True)
        (programs / "complete").touch()


@pytest.mark.parametrize(("user", "may_mount"), [(1000, True), (0, False)])
def test_where_another_release_cannot_run_it_is_not_installed_and_the_text_says_what_to_do(
    add_program: Callable[[str, str], Path], run: Run, tmp_path: Path, user: int, may_mount: bool
) -> None:
    add_program("id", f"echo {user}")
    add_program("unshare", f"exit {0 if may_mount else 1}")

    done = run("install-rabbitmq", "--release", "4.3")

    assert done.returncode == 1
    assert done.stdout == ""
    assert "root, with the right to mount" in done.stderr
    assert "set AMPHORA_RABBITMQ to a directory" in done.stderr
    assert not (tmp_path / "trees").exists()


@pytest.mark.usefixtures("installed")
def test_a_release_that_was_installed_is_found(run: Run, tmp_path: Path) -> None:
    done = run("install-rabbitmq", "--release", "4.0")

    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/trees/4.0/amphora\n")


@pytest.mark.usefixtures("installed")
def test_all_releases_run_the_tests_and_chaos_runs_of_both_queue_types(
    add_program: Callable[[str, str], Path], run: Run, tmp_path: Path
) -> None:
    done = run("run-tests-on-releases", add_program("python", PYTHON), "4.0", "4.3")

    assert done.returncode == 0, done.stderr
    for release in ("4.0", "4.3"):
        ran = [line for line in done.stdout.splitlines() if line.endswith(f" in {tmp_path}/trees/{release}/amphora")]
        assert sorted(line.split()[1] for line in ran) == ["chaos.run", "chaos.run", "pytest", "pytest", "pytest"]
        for words in ("--queue-type classic", "--queue-type quorum", "tests/acceptance/test_poison.py"):
            assert len([line for line in ran if words in line]) == 1
        assert not any("test_memory" in line for line in ran)


@pytest.mark.usefixtures("installed")
def test_groups_are_printed_for_another_queue(add_program: Callable[[str, str], Path], run: Run) -> None:
    done = run("run-tests-on-releases", "--groups", add_program("python", PYTHON), "4.0", "4.3")

    assert done.returncode == 0, done.stderr
    groups = read_groups(done.stdout.splitlines())
    assert len(groups) == 10
    assert [group.name.partition(": ")[0] for group in groups] == ["RabbitMQ 4.0", "RabbitMQ 4.3"] * 5


@pytest.mark.usefixtures("installed")
def test_given_tests_run_alone(add_program: Callable[[str, str], Path], run: Run, tmp_path: Path) -> None:
    done = run("run-tests-on-releases", add_program("python", PYTHON), "4.0", "--", "tests/unit", "-x")

    assert done.returncode == 0, done.stderr
    assert f"\n-m pytest tests/unit -x in {tmp_path}/trees/4.0/amphora\n" in done.stdout
    assert done.stdout.count("started: ") == 1


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("releases", [("4.0", "4.3"), ("4.3", "4.0")])
def test_one_release_that_fails_is_named_and_the_others_are_shown(
    add_program: Callable[[str, str], Path], run: Run, releases: tuple[str, str]
) -> None:
    done = run("run-tests-on-releases", add_program("python", PYTHON), *releases, FAILS_ON_4_3="1")

    assert done.returncode == 1
    _, _, failed = done.stdout.partition("\nWhat failed:\n")
    assert "RabbitMQ 4.3: integration:\n" in failed
    assert "RabbitMQ 4.0" not in failed
    assert "trees/4.0/amphora" in done.stdout


def test_a_release_that_cannot_be_installed_fails_with_its_text(
    add_program: Callable[[str, str], Path], run: Run
) -> None:
    done = run("run-tests-on-releases", add_program("python", PYTHON), "2.8")

    assert done.returncode == 1
    assert "there is no Debian release with RabbitMQ 2.8" in done.stderr
    assert done.stdout.endswith("RabbitMQ 2.8: installation:\n  RabbitMQ 2.8 could not be installed (see above)\n")


def test_tests_that_are_left_out_exist() -> None:
    """A file of tests that is renamed would come back unnoticed."""
    text = (ROOT / "scripts" / "run-tests-on-releases").read_text()
    left_out = re.search(r'^LEFT_OUT="([^"]*)"', text, re.MULTILINE)

    assert left_out is not None
    assert [name for name in left_out[1].split() if not (ROOT / "tests" / f"{name}.py").exists()] == []
