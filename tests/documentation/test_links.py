"""The links of the pages lead somewhere."""

import re
from pathlib import Path

import pytest

from tests.support.pages import all_pages
from tests.support.processes import ROOT

CODE_SPAN_OR_BLOCK = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


@pytest.mark.parametrize("path", all_pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_s_links_lead_somewhere(path: Path) -> None:
    prose = CODE_SPAN_OR_BLOCK.sub("", path.read_text())

    links = [link for link in LINK.findall(prose) if "://" not in link]

    missing = [link for link in links if not _leads_somewhere(path, link)]
    assert missing == []


def _leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not anchor or anchor in _anchors(target))


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
