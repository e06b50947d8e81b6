"""What the `celery` program gets for an application with ``app.amphora``: an option and a step of the worker."""

from __future__ import annotations

from typing import Any

from click import Option

__all__ = ["extend_worker"]

#: By name: a process that is no worker does not import Celery's worker for it.
_STEP = "amphora.contrib.celery.worker:AmphoraStep"


class _GroupedOption(Option):
    """An option that `celery worker --help` shows in a group."""

    help_group = "Features"


def extend_worker(app: Any) -> None:
    """Give `celery -A app worker` the option ``--amphora`` and the step that it switches on."""
    help_text = "Serve the application's RPC functions in this worker; needs -P gevent (default: amphora_worker)."
    app.user_options["worker"].add(_GroupedOption(["--amphora/--no-amphora"], default=None, help=help_text))
    app.steps["worker"].add(_STEP)
