"""What went wrong during a test without failing it: `tests/error_watch.py` fails the test for it."""

import re
from collections.abc import Iterator

#: What was logged at ERROR, what died, and what child programs wrote of that kind.
seen: list[str] = []

#: What a program writes when something went wrong.
_ERROR = re.compile(r"\b(ERROR|CRITICAL)\b")
_TRACEBACK = "Traceback (most recent call last)"


def note_output(program: str, lines: list[str]) -> None:
    """Note the errors and tracebacks among the lines that a program has written."""
    seen.extend(f"{program} wrote: {text}" for text in _errors(lines))


def _errors(lines: list[str]) -> Iterator[str]:
    trace: list[str] = []
    for line in lines:
        if trace:
            trace.append(line)
            if not line.startswith((" ", "\t")):
                yield "\n".join(trace)
                trace = []
        elif line.startswith(_TRACEBACK):
            trace = [line]
        elif _ERROR.search(line):
            yield line
    if trace:
        yield "\n".join(trace)
