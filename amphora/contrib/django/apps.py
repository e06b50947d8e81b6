"""The Django app ``amphora``."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.checks import register
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.translation import gettext_lazy as _

from amphora.contrib.django.checks import (
    TAG,
    check_deployment,
    check_error_reports,
    check_handlers,
    check_patching,
    check_settings,
)
from amphora.contrib.django.conf import forget, services
from amphora.contrib.django.connections import connect_receivers
from amphora.contrib.django.development import patch_runserver, patch_test
from amphora.contrib.django.discovery import forget_failures
from amphora.contrib.django.drivers import check_drivers
from amphora.contrib.django.endpoints import LazyClient, LazyServer, clients, servers
from amphora.contrib.django.hidden import hide_passwords
from amphora.contrib.django.late_patching import patched_too_late
from amphora.contrib.django.process import check_event_loop
from amphora.contrib.django.tasks import connect_worker

__all__ = ["AmphoraConfig"]


class AmphoraConfig(AppConfig):
    """The app: registers the system checks, and follows ``override_settings``."""

    name = "amphora.contrib.django"
    label = "amphora"
    verbose_name = _("Amphora RPC")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register checks and receivers; connects nothing. ``manage.py runserver`` begins anew here, patched."""
        patch_runserver()
        patch_test()
        check_event_loop()
        if (late := patched_too_late()) is not None:
            raise ImproperlyConfigured(late)
        hide_passwords()
        for check in (check_settings, check_handlers, check_patching, check_error_reports, check_drivers):
            register(check, TAG)
        register(check_deployment, TAG, deploy=True)
        connect_receivers()
        connect_worker()
        setting_changed.connect(_settings_changed, dispatch_uid="amphora")

    def endpoints(self, service_name: str) -> tuple[LazyServer, LazyClient] | None:
        """Return the stand-ins for a service's server and client.

        Args:
            service_name: Namespace of the RPC service, as in ``SERVICE_NAME``.

        Returns:
            The two; None where no alias of ``AMPHORA`` has that service.
        """
        for alias, settings in services().items():
            if settings.service_name == service_name:
                return servers[alias], clients[alias]
        return None


def _settings_changed(*, setting: str, **_: Any) -> None:
    if setting == "AMPHORA":
        forget()
        forget_failures()
        servers.reset()
        clients.reset()
