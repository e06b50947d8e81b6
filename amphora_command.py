# Beside the package, not in it: `import amphora.anything` would import sockets and TLS before they are patched.
"""The program `amphora`: gevent's monkey-patching first, then the command line (`amphora.cli`)."""

from __future__ import annotations

import sys

__all__ = ["main"]

_NO_EXTRA = """\
The amphora command needs click and rich ({missing} is not installed):

    pip install 'amphora[cli]'
"""


def main() -> None:
    """Patch, then run the command that the command line names."""
    if sys.argv[1:2] == ["health"]:
        import amphora_probe  # noqa: PLC0415  (no other command needs it)

        status = amphora_probe.probe(sys.argv[2:])
        if status is not None:
            sys.exit(status)
    from gevent import monkey  # noqa: PLC0415  (nothing else is imported before)

    monkey.patch_all()
    try:
        from amphora.cli.program import run  # noqa: PLC0415  (not before patching)
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        sys.stderr.write(_NO_EXTRA.format(missing=error.name))
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
