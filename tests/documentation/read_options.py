"""Run programs until they have read their options: read_options.py COMMANDS, a JSON list of lists of words.

It ends with 0 if all of them accept their options, or else as the first one that does not.
"""

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402
import json  # noqa: E402
import runpy  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

_parse_args = argparse.ArgumentParser.parse_args


class _AreRead(BaseException):
    """The program has read its options, and what it does then is not wanted."""


def _parse_and_leave(self: argparse.ArgumentParser, *arguments: Any) -> None:
    _parse_args(self, *arguments)
    raise _AreRead


def read(words: list[str]) -> None:
    """Run `python *words` until it has read its options.

    Raises:
        SystemExit: it refuses them, or has none to read.
    """
    is_module = words[0] == "-m"
    program, *options = words[1:] if is_module else words
    sys.argv = [program, *options]
    path = list(sys.path)
    try:
        if is_module:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        else:
            # As Python does it for a script.
            sys.path.insert(0, str(Path(program).parent))
            runpy.run_path(program, run_name="__main__")
    except _AreRead:
        return
    finally:
        sys.path[:] = path
    raise SystemExit(f"{program} has read no options")


argparse.ArgumentParser.parse_args = _parse_and_leave  # type: ignore[assignment,method-assign]
for command in json.loads(sys.argv[1]):
    read(command)
