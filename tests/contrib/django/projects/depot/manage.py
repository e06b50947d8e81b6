#!/usr/bin/env python
"""Django's command-line utility for administrative tasks, nearly as `startproject` writes it."""

import os
import sys


def main():
    """Run administrative tasks."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "depot.settings")
    try:
        from django.core.management import execute_from_command_line  # noqa: PLC0415  (startproject's own place)
    except ImportError as error:
        raise ImportError("Couldn't import Django. Did you forget to activate a virtual environment?") from error
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
