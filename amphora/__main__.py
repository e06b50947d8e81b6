"""``python -m amphora``: the `amphora` command, in a process that is patched before anything is imported."""

from __future__ import annotations

import os
import sys

_PROGRAM = "amphora_command"


def _again(command: list[str], arguments: int) -> list[str] | None:
    """Return the command line of the same interpreter that runs the program itself.

    Args:
        command: That of this process (`sys.orig_argv`): ``python [options] -m amphora [arguments]``.
        arguments: How many arguments there are.

    Returns:
        None where it is written in another way.
    """
    end = len(command) - arguments
    *options, module = command[1:end] or [""]
    # -m amphora, or -mamphora; other letters may stand before the m.
    for written in ("amphora.__main__", "amphora"):
        if module == written or (module.startswith("-") and module.endswith(f"m{written}")):
            return [*options, f"{module.removesuffix(written)}{_PROGRAM}", *command[end:]]
    return None


def main() -> None:
    """Put the program in the place of this process: its id, its terminal and its environment stay."""
    again = _again(sys.orig_argv, len(sys.argv) - 1)
    if again is None or not sys.executable:
        sys.stderr.write("Run it as `python -m amphora ...`, or as `amphora ...`.\n")
        sys.exit(2)
    os.execv(sys.executable, [sys.executable, *again])  # noqa: S606  (the command line of this process)


if __name__ == "__main__":
    main()
