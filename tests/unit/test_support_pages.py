"""The blocks of pages, what a test has to take of them, and how outputs are compared."""

from pathlib import Path

import pytest

from tests.support import pages
from tests.support.consoles import Entry, assert_contains_lines, entries, shape
from tests.support.fragments import run_fragment, run_fragments
from tests.support.pages import Block, Reading, blocks_of

PAGE = """\
# A page

```python
# orders/rpc.py
x = 1
```

1. A step.

   ```console
   $ amphora call orders add 1 2    # as text: '"1"'
   3
   $ rabbitmqctl add_user 'a # b' \\
       secret
   ```

## Below

::::{code-block} python
x + 1    # the sum: 2
::::
"""


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    (tmp_path / "page.md").write_text(PAGE)
    return "page.md"


def test_blocks_are_found_with_their_places_and_files_whatever_their_fences_and_indentation(written: str) -> None:
    blocks = blocks_of(written)

    assert [(each.line, each.heading, each.language) for each in blocks] == [
        (3, "A page", "python"),
        (10, "A page", "console"),
        (19, "Below", "python"),
    ]
    assert [each.file for each in blocks] == ["orders/rpc.py", None, None]
    assert blocks[1].text.startswith("$ amphora")


def test_a_block_without_an_end_is_an_error(written: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("```python\nx = 1\n")

    with pytest.raises(ValueError, match="the block that begins in line 1 has no end"):
        blocks_of(written)


def test_a_test_that_leaves_a_block_fails_with_its_place(written: str) -> None:
    reading = Reading(written)

    reading.take("python")

    with pytest.raises(AssertionError, match=r"not executed: page\.md:10 \(console, below 'A page'\)"):
        reading.assert_all_taken()
    reading.take("console")
    reading.assert_all_taken()


def test_a_test_of_some_headings_has_their_blocks_alone(written: str) -> None:
    assert [each.line for each in Reading(written, "Below").left] == [19]
    with pytest.raises(LookupError, match="no block right below Gone"):
        Reading(written, "Gone")


def test_a_block_that_is_wanted_and_not_there_is_an_error(written: str) -> None:
    with pytest.raises(LookupError, match="no such block"):
        Reading(written).take("yaml")


def test_commands_are_read_without_comments_and_on_one_line(written: str) -> None:
    called, added = entries([blocks_of(written)[1]])

    assert (called.words, called.output) == (["amphora", "call", "orders", "add", "1", "2"], "3\n")
    assert added.words == ["rabbitmqctl", "add_user", "a # b", "secret"]


def test_values_in_comments_are_compared(written: str) -> None:
    whole, _, part = blocks_of(written)

    assert run_fragments([whole, part], {}) == 1
    with pytest.raises(AssertionError):
        run_fragments([part], {"x": 2})
    assert run_fragment("1    # no value\n2 # 'two'", {}) == [(2, "two")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("web1:4711 (f50837a6) time=1.87 ms", "vm:1 (00000000) time=12.5 ms"),
        ("1.0.0a1  3d02h   6/100", "2.1.0 0m07s 16/20"),
        ("7f3c...-1 ship(17)", "7b057779c72f45f7bc6cc48ad59819a0-c2 ship(17)"),
        ("November 26, 2026 - 09:30:00", "May 1, 2027 - 19:30:01"),
    ],
)
def test_outputs_that_differ_in_what_varies_have_one_shape(one: str, other: str) -> None:
    assert shape(one) == shape(other)


def test_outputs_that_differ_in_words_have_not() -> None:
    assert shape("2 servers") != shape("2 workers")
    assert shape("a\nb") != shape("a")


def test_lines_may_have_others_between_them_and_keep_their_order() -> None:
    entry = Entry(Block("page.md", 1, "", "console", ""), "run", "first\n...\nsecond\n")

    assert_contains_lines(entry, "before\nfirst\nbetween\nsecond")
    with pytest.raises(AssertionError):
        assert_contains_lines(entry, "second\nfirst")
    assert_contains_lines(entry, "second\nfirst", ordered=False)
