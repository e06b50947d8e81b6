# Started by its path, not with -m, which would import `amphora` and half of the standard library before the patching.
"""The program that runs manage.py under gevent's monkey-patching, as ``python`` alone runs it without.

``patched.py script PATH ARGUMENT ...``, ``patched.py module NAME ARGUMENT ...`` (``python -m``) or
``patched.py code TEXT ARGUMENT ...`` (``python -c``); see `amphora.contrib.django.patching`.
"""

from __future__ import annotations

import os
import pkgutil
import runpy
import sys

#: Environment variable: name of another one, which is for this program alone.
UNSET = "AMPHORA_PATCHED_UNSET"


def main() -> None:
    """Patch, then run the program that the command line names."""
    if not sys.flags.safe_path:
        # The directory of this file, whose modules are not top-level modules.
        del sys.path[0]
    from gevent import monkey  # noqa: PLC0415  (the path is right only now)

    monkey.patch_all()
    os.environ.pop(os.environ.pop(UNSET, ""), None)
    _, kind, target, *arguments = sys.argv
    try:
        _run(kind, target, arguments)
    except (Exception, SystemExit) as error:
        if os.environ.get("AMPHORA_RELOADS", "0") == "0":
            raise
        from amphora.contrib.django.reloading import end_or_wait_for_change  # noqa: PLC0415  (not before patching)

        end_or_wait_for_change(error)


def _run(kind: str, target: str, arguments: list[str]) -> None:
    if kind == "code":
        sys.argv = ["-c", *arguments]
        _lead_path("")
        exec(compile(target, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102  (it is the user's own)
    elif kind == "module":
        sys.argv = [target, *arguments]
        _lead_path(os.getcwd())  # noqa: PTH109  (pathlib is large, and here nothing but the patching comes first)
        runpy.run_module(target, run_name="__main__", alter_sys=True)
    else:
        sys.argv = [target, *arguments]
        # A directory or a zip file leads the path itself, by runpy's own hand.
        if pkgutil.get_importer(target) is None:
            _lead_path(os.path.dirname(os.path.realpath(target)))  # noqa: PTH120
        runpy.run_path(target, run_name="__main__")


def _lead_path(directory: str) -> None:
    if not sys.flags.safe_path:
        sys.path.insert(0, directory)


if __name__ == "__main__":
    main()
