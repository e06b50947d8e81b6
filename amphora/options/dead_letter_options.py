"""`DeadLetterOptions`: what `DeadLetters` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from amphora.options.brokers import user_of
from amphora.options.fields import Where, option
from amphora.options.message_options import MessageOptions
from amphora.value_checks import boolean

__all__ = ["DeadLetterOptions"]


@dataclass(frozen=True, kw_only=True)
class DeadLetterOptions(MessageOptions):
    """What `DeadLetters` can be told."""

    role: ClassVar[str] = "dead letters"

    identify: bool = option(
        "Whether what is given back names the broker's user, as that of `AmqpRpcClient` does: functions with "
        "`require_user` run it if that user may call them. (RabbitMQ does not let it name the original user.)",
        default=False,
        check=boolean,
        where=Where.CONSTRUCTOR,
        flags=("--identify",),
    )

    def check_together(self) -> None:
        """Check what no field can tell by itself.

        Raises:
            ValueError: Values contradict each other.
        """
        super().check_together()
        _ = self.user

    @property
    def user(self) -> str | None:
        """The user that requests are given back as, if they name one."""
        return user_of(self.brokers) if self.identify else None
