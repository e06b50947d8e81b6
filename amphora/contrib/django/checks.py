"""System checks of the setting ``AMPHORA`` and of the handlers."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error

from amphora.contrib.django.conf import problems

__all__ = ["check_settings"]


def check_settings(**_: Any) -> list[CheckMessage]:
    """Check what the settings say."""
    return [Error(problem.text, hint=problem.hint, id="amphora.E001") for problem in problems()]
