"""Texts that are made from the fields of the options: docstrings' `Args:`, and tables of the documentation.

``make options`` writes them (``python -m tests.support.option_texts``); tests compare them with what is there.
"""

import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

from amphora import AmqpRpcClient, AmqpRpcServer, DeadLetters
from amphora.options.fields import options_of

#: Columns of a line of source.
WIDTH = 120
#: Those whose constructors' docstrings are made.
DOCUMENTED: tuple[type[Any], ...] = (AmqpRpcClient, AmqpRpcServer, DeadLetters)


def arguments_of(endpoint: type[Any]) -> str:
    """Return the section `Args:` of a class's docstring, in the order of its constructor."""
    options = endpoint._options_type
    known = options_of(options)
    lines = ["    Args:"]
    for name in inspect.signature(endpoint).parameters:
        text = f"{name}: {known[name].doc(options.role)}"
        lines += textwrap.wrap(
            text,
            WIDTH,
            initial_indent=" " * 8,
            subsequent_indent=" " * 12,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(lines) + "\n"


def section_of(endpoint: type[Any]) -> str:
    """Return the section as it stands in the source."""
    match = _SECTION.search(_class_source(endpoint))
    assert match is not None, f"the docstring of {endpoint.__name__} has no section Args:"
    return match[0]


_SECTION = re.compile(r"^    Args:\n(?:        .*\n)+", re.MULTILINE)


def _class_source(endpoint: type[Any]) -> str:
    source = Path(inspect.getfile(endpoint)).read_text()
    return source[source.index(f"\nclass {endpoint.__name__}(") :]


def write() -> None:
    """Write docstrings and tables anew."""
    from tests.support.option_tables import TABLES  # noqa: PLC0415  (it needs Django and Celery)

    for endpoint in DOCUMENTED:
        path = Path(inspect.getfile(endpoint))
        path.write_text(path.read_text().replace(section_of(endpoint), arguments_of(endpoint), 1))
    for table in TABLES:
        table.page.write_text(table.page.read_text().replace(table.found(), table.made(), 1))


if __name__ == "__main__":
    write()
