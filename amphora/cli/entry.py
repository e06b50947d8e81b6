"""The program `amphora`: gevent's monkey-patching first, then the command line (`amphora.cli.program`).

Neither `amphora` nor this package imports anything that gevent patches. A process that only prints (``--help``,
``--version``, a word to complete) is not patched: that would take longer than the rest.
"""

from __future__ import annotations

import os
import sys

__all__ = ["main"]

_NO_EXTRA = """\
The amphora command needs click and rich ({missing} is not installed):

    pip install 'amphora[cli]'
"""

#: Of these alone, the command line prints and ends.
_PRINTED: tuple[list[str], ...] = ([], ["-h"], ["--help"], ["--version"])


def main() -> None:
    """Patch, then run the command that the command line names."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["health"]:
        from amphora.cli import probe  # noqa: PLC0415  (no other command needs it)

        status = probe.probe(arguments[1:])
        if status is not None:
            sys.exit(status)
    if arguments not in _PRINTED and "_AMPHORA_COMPLETE" not in os.environ:
        from amphora.cli.patching import patch  # noqa: PLC0415  (nothing else is imported before)

        patch()
    try:
        from amphora.cli.program import run  # noqa: PLC0415  (not before patching)
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        sys.stderr.write(_NO_EXTRA.format(missing=error.name))
        sys.exit(2)
    run()
