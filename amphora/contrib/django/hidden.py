"""Keeps the broker's password out of Django's error pages and error mails."""

from __future__ import annotations

import re

from django.views.debug import SafeExceptionReporterFilter

__all__ = ["hide_passwords"]

_NAME = "BROKER_URL"


def hide_passwords() -> None:
    """Let error reports hide ``BROKER_URL``, in ``AMPHORA`` and in the environment, as they hide ``SECRET_KEY``.

    A filter of the project's own does so too where it extends Django's names instead of replacing them.
    """
    hidden = SafeExceptionReporterFilter.hidden_settings
    if not hidden.search(_NAME):
        SafeExceptionReporterFilter.hidden_settings = re.compile(f"{hidden.pattern}|{_NAME}", hidden.flags)
