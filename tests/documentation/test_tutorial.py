"""docs/tutorial.md and docs/index.md: what a newcomer reads first."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import StartProgram
from tests.documentation.conftest import stop_endpoints
from tests.support.fragments import at, run_fragments
from tests.support.pages import Reading
from tests.support.processes import ROOT


@pytest.fixture
def own_names() -> Iterator[dict[str, Any]]:
    """Nothing is taken for granted; what the page makes is stopped."""
    names: dict[str, Any] = {}
    yield names
    stop_endpoints(names)


@pytest.mark.page("docs/tutorial.md")
def test_the_tutorial_s_fragments_give_what_their_comments_say(
    page: Reading, own_names: dict[str, Any], broker_url: str
) -> None:
    compared = run_fragments(page.take("python"), own_names, broker_url)

    assert compared >= 7


@pytest.mark.page("docs/index.md")
def test_the_first_page_s_client_calls_its_server_and_its_contents_are_there(
    page: Reading, own_names: dict[str, Any], start_program: StartProgram, broker_url: str
) -> None:
    server = page.take_one("python", containing="nowait=False")
    start_program("-c", at(broker_url, server.text))

    compared = run_fragments(page.take("python"), own_names, broker_url)

    assert compared == 2
    for contents in page.take("{toctree}"):
        listed = [line for line in contents.text.splitlines() if line and not line.startswith(":")]
        names = [line.rpartition("<")[2].rstrip(">") for line in listed]
        assert [name for name in names if not (ROOT / "docs" / f"{name}.md").is_file()] == []
