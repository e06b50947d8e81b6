"""The pytest plug-in, in a user's project of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import StartProgram
from tests.support.broker import Broker
from tests.support.fragments import run_fragments
from tests.support.pages import Reading, blocks_of
from tests.support.processes import ROOT, Program

#: Plug-ins of our own tests are there too, and take their time; an installed one of a user's is loaded by itself.
ALONE = ("-p", "amphora.testing.pytest_plugin")

OF_ANOTHER_PROGRAM = """
import sys

def test_nothing_is_imported():
    assert not {"amphora.testing.service", "gevent", "kombu"} & set(sys.modules)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project that the documentation shows."""
    for block in blocks_of("docs/testing.md"):
        if block.file is not None:
            (tmp_path / block.file).write_text(block.text)
    return tmp_path


@pytest.fixture
def run_tests(start_program: StartProgram) -> Callable[..., Program]:
    """Run the tests of a project with some options to their end."""

    def run(project: Path, *options: str) -> Program:
        tests = start_program(
            *("-m", "pytest", "-q", *ALONE, "-p", "no:cacheprovider", "--rootdir", project, *options, project),
            env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        )
        tests.wait(100)
        return tests

    return run


@pytest.mark.page("docs/testing.md")
def test_the_documentation_s_project_passes_its_tests(
    page: Reading, project: Path, start_program: StartProgram
) -> None:
    assert page.take_files().keys() == {"shop.py", "test_shop.py", "pyproject.toml"}

    tests = start_program("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", project, project)
    compared = run_fragments(page.take("python"), {})

    assert tests.wait(100) == 0
    assert tests.wait_for_line(r"^2 passed")
    assert compared == 1


@pytest.mark.parametrize("how", ["option", "setting"])
def test_the_services_of_a_test_may_run_on_a_broker(
    project: Path, run_tests: Callable[..., Program], broker: Broker, service: str, how: str
) -> None:
    for name in ("shop.py", "test_shop.py"):
        (project / name).write_text((project / name).read_text().replace('"shop"', f'"{service}"'))
    if how == "setting":
        with (project / "pyproject.toml").open("a") as settings:
            settings.write(f'amphora_broker = "{broker.url}"\n')

    tests = run_tests(project, *(["--amphora-broker", broker.url] if how == "option" else []))

    assert tests.returncode == 0
    assert f"rpc_{service}_request" in broker.queues()


def test_the_processes_of_pytest_xdist_run_tests_too(project: Path, run_tests: Callable[..., Program]) -> None:
    tests = run_tests(project, "-p", "xdist", "-n", "2")

    assert tests.returncode == 0
    assert tests.wait_for_line(r"^2 passed")


@pytest.mark.expects_errors("test_shop.py")
def test_without_the_setting_one_is_told_of_it(project: Path, run_tests: Callable[..., Program]) -> None:
    (project / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")

    tests = run_tests(project)

    assert tests.returncode != 0
    assert "amphora_patch = true" in tests.output


def test_tests_of_other_programs_pay_nothing_for_the_plug_in(tmp_path: Path, run_tests: Callable[..., Program]) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (tmp_path / "test_other.py").write_text(OF_ANOTHER_PROGRAM)

    assert run_tests(tmp_path).returncode == 0


def test_the_examples_are_tested_with_it(run_tests: Callable[..., Program]) -> None:
    tests = run_tests(ROOT / "examples" / "testing")

    assert tests.returncode == 0
    assert tests.wait_for_line(r"^2 passed")
