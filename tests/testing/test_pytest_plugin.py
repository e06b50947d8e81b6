"""The pytest plug-in, in a user's project of its own."""

from pathlib import Path

import pytest

from tests.conftest import StartProgram
from tests.support.broker import Broker
from tests.support.processes import ROOT

PAGE = (ROOT / "docs" / "testing.md").read_text()


def block(first_line: str) -> str:
    """Return a block of the documentation by its first line."""
    return next(each for each in PAGE.split("```")[1::2] if first_line in each.splitlines()[:2]).partition("\n")[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project that the documentation shows."""
    for name in ("shop.py", "test_shop.py"):
        (tmp_path / name).write_text(block(f"# {name}"))
    (tmp_path / "pyproject.toml").write_text(block("# pyproject.toml"))
    return tmp_path


def test_the_documentation_s_project_passes_its_tests(project: Path, start_program: StartProgram) -> None:
    tests = start_program("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", project, project)

    assert tests.wait(100) == 0
    assert tests.wait_for_line(r"^2 passed")


def test_the_services_of_a_test_may_run_on_a_broker(
    project: Path, start_program: StartProgram, broker: Broker, service: str
) -> None:
    for name in ("shop.py", "test_shop.py"):
        (project / name).write_text((project / name).read_text().replace('"shop"', f'"{service}"'))

    tests = start_program(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", project, "--amphora-broker", broker.url, project
    )

    assert tests.wait(100) == 0
    assert f"rpc_{service}_request" in broker.queues()
