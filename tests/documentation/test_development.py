"""What those who measure and change Amphora are shown, where a reader of commands is not enough."""

import ast
import re

import pytest

from chaos.hostile import summary
from tests.documentation.development import NOT_RUN, Development
from tests.support.consoles import entries, shape
from tests.support.pages import Reading, all_pages, blocks_of
from tests.support.processes import ROOT


@pytest.mark.page("docs/reliability.md", "Hostile input")
def test_the_flood_of_hostile_messages_prints_what_the_page_shows(page: Reading) -> None:
    Development().check_all(entries(page.take("console")))
    shown = page.take_one("").text.replace(", ...}", "}")
    counted = ast.literal_eval(shown[shown.index("{") : shown.index("}") + 1])

    assert shape(summary(80000, counted, [51.0, 77, 75, 83, 80], well=True)) == shape(shown)


@pytest.mark.page("examples/django/README.md")
def test_the_drawing_of_the_chat_names_what_there_is(page: Reading) -> None:
    Development().check_all(entries(page.take("console")))
    drawing = page.take_one("").text
    chat = ROOT / "examples" / "django"

    functions = "".join((chat / app / "rpc.py").read_text() for app in ("core", "web"))
    of_core, of_web = re.search(r"web 1 ── ([\w, ]+) ──>", drawing), re.search(r"<── (\w+) ──", drawing)
    named = [*of_core[1].split(", "), of_web[1]]
    assert [name for name in named if f"add_function\ndef {name}(" not in functions] == []


def test_what_is_not_run_is_still_on_a_page() -> None:
    pages = [str(path.relative_to(ROOT)) for path in all_pages()]
    consoles = [block for page in pages for block in blocks_of(page) if block.language == "console"]

    assert [begin for begin in NOT_RUN if not any(f"$ {begin}" in block.text for block in consoles)] == []
