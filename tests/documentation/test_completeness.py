"""Every code block of every page is executed by a test, as far as the tests' sources tell.

A test that has the mark `page` and runs takes all blocks of its page, or else fails (`tests/conftest.py`). A page
without a test of its own is read by that of the guides. What is left to look at is whether no block is between these.
"""

import pytest

from tests.documentation.executions import executions, guides, pages_with_blocks
from tests.support.pages import blocks_of


@pytest.mark.parametrize("page", pages_with_blocks())
def test_every_block_of_a_page_is_executed(page: str) -> None:
    unexecuted = [
        str(block)
        for block in blocks_of(page)
        if page not in guides() and not any(each.covers(block) for each in executions())
    ]

    assert unexecuted == []


def test_what_tests_execute_is_there() -> None:
    blocks = [block for page in pages_with_blocks() for block in blocks_of(page)]

    assert [each for each in executions() if not any(map(each.covers, blocks))] == []


def test_the_guides_are_those_without_a_test_of_their_own() -> None:
    # Some that are well known: a mark that is misread would let all of them go.
    assert {"docs/middleware.md", "docs/typing.md", "CONTRIBUTING.md"} <= set(guides())
    assert {"README.md", "docs/cli.md", "docs/celery.md", "docs/django.md"}.isdisjoint(guides())
