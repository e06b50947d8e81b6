"""The failed calls that are kept, and the model without a table that stands for a service in the admin."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

__all__ = ["FailedCall", "Service"]

#: Longest texts that are kept of names and ids, in characters.
NAME_LENGTH = 255


class FailedCall(models.Model):
    """An exception that a remote function raised; see `amphora.contrib.django.recording`.

    Arguments of the call are not kept: they may hold what only the function should see.
    """

    id = models.BigAutoField(primary_key=True)
    time = models.DateTimeField(_("time"), db_index=True)
    alias = models.CharField(_("alias"), max_length=NAME_LENGTH)
    service = models.CharField(_("service"), max_length=NAME_LENGTH)
    function = models.CharField(_("function"), max_length=NAME_LENGTH)
    error_type = models.CharField(_("error"), max_length=NAME_LENGTH)
    message = models.TextField(_("message"), blank=True)
    traceback = models.TextField(_("traceback"), blank=True)
    server_host = models.CharField(_("host"), max_length=NAME_LENGTH)
    server_pid = models.PositiveBigIntegerField(_("process"))
    server_uuid = models.CharField(_("server"), max_length=NAME_LENGTH)
    request_id = models.CharField(_("request id"), max_length=NAME_LENGTH, blank=True)

    class Meta:
        verbose_name = _("failed call")
        verbose_name_plural = _("failed calls")
        ordering = ("-time", "-id")
        # The servers write them, and they do not change.
        default_permissions = ("view", "delete")
        indexes = (models.Index(fields=("service", "-id"), name="amphora_failed_service"),)

    def __str__(self) -> str:
        return f"{self.function}: {self.error_type}"


class NoRows(models.Manager):
    """Finds nothing, and asks no database."""

    def get_queryset(self) -> Any:
        """Return an empty queryset."""
        return super().get_queryset().none()


class Service(models.Model):
    """An alias of ``AMPHORA`` in the admin: an entry in its index, a content type and permissions.

    There is no table: what services there are, the settings say.
    """

    alias = models.CharField(_("alias"), max_length=NAME_LENGTH, primary_key=True)

    objects = NoRows()

    class Meta:
        managed = False
        base_manager_name = "objects"
        verbose_name = _("RPC service")
        verbose_name_plural = _("RPC services")
        default_permissions = ("view",)
        permissions = (("call_service", _("Can call functions of RPC services")),)

    def __str__(self) -> str:
        return str(self.alias)
