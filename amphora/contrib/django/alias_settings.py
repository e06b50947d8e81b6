"""`AliasSettings`: what the settings say of one alias, and what programs override, for the endpoints of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.views.decorators.debug import sensitive_variables

from amphora.contrib.django.conf import ServiceSettings, imported, service

__all__ = ["AliasSettings"]

Real = TypeVar("Real")


class AliasSettings:
    """The settings of an alias, read when they are needed.

    Args:
        alias: Key of the settings in ``AMPHORA``.
    """

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self._overrides: dict[str, Any] = {}

    @property
    def service(self) -> ServiceSettings:
        """The settings.

        Raises:
            ImproperlyConfigured: There is no such alias, or something is wrong with it.
        """
        return service(self.alias)

    def override(self, options: dict[str, Any]) -> None:
        """Take other arguments than the settings' for what is built next."""
        self._overrides.update(options)

    @sensitive_variables()
    def build(self, kind: Callable[..., Real], options: Any) -> Real:
        """Make an endpoint from its options.

        Raises:
            ImproperlyConfigured: An option is wrong.
        """
        try:
            return kind(self.service.service_name, **{**imported(options), **self._overrides})
        except ImportError as error:
            raise ImproperlyConfigured(f"AMPHORA[{self.alias!r}]: {error}") from error
        except (TypeError, ValueError) as error:
            # Without its cause: Django's error reports show the variables of its frames, and passwords among them.
            raise ImproperlyConfigured(f"AMPHORA[{self.alias!r}]: {error}") from None
