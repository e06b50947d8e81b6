"""The pytest plug-in, in a user's project of its own."""

from pathlib import Path

import pytest

from tests.conftest import StartProgram
from tests.support.broker import Broker
from tests.support.fragments import run_fragments
from tests.support.pages import Reading, blocks_of


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project that the documentation shows."""
    for block in blocks_of("docs/testing.md"):
        if block.file is not None:
            (tmp_path / block.file).write_text(block.text)
    return tmp_path


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
