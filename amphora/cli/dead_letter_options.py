"""Which dead letters a command is about, and how they are shown."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from amphora import DeadLetter
from amphora.cli.output import to_json

__all__ = ["Choice", "as_record", "described"]

#: Characters of the arguments that are shown, at most.
_SHOWN = 60


@dataclass(frozen=True)
class Choice:
    """Which dead letters.

    Args:
        functions: Names of functions, or patterns with * and ?; empty for any.
        ids: Request ids; empty for any.
        reasons: Why they were given up; empty for any reason.
        limit: How many at most; None for any number.
    """

    functions: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    limit: int | None = None

    @property
    def is_everything(self) -> bool:
        """Whether it leaves none out."""
        return self == Choice()

    def takes(self, letter: DeadLetter) -> bool:
        """Return whether a letter is one of them; the limit is not looked at."""
        return (
            (not self.functions or any(fnmatch.fnmatchcase(letter.function or "", each) for each in self.functions))
            and (not self.ids or letter.request_id in self.ids)
            and (not self.reasons or letter.reason in self.reasons)
        )


def described(letter: DeadLetter) -> str:
    """Describe a letter in a line: id, call, why and since when."""
    if letter.function is None:
        call = f"unreadable, {len(letter.body)} bytes"
    else:
        shown = [to_json(each) for each in letter.args]
        shown += [f"{name}={to_json(value)}" for name, value in letter.kwargs.items()]
        arguments = ", ".join(shown)
        if len(arguments) > _SHOWN:
            arguments = f"{arguments[: _SHOWN - 1]}…"
        call = f"{letter.function}({arguments})"
    why = letter.reason if letter.tries is None else f"{letter.reason}, {letter.tries} tries"
    doubt = "" if letter.doubt is None else ", unverified"
    return f"{letter.request_id or 'no id'}  {call}  [{why}{_since(letter)}{doubt}]"


def as_record(letter: DeadLetter) -> dict[str, Any]:
    """Give what scripts are told of a letter."""
    return {
        "id": letter.request_id,
        "function": letter.function,
        "args": list(letter.args),
        "kwargs": letter.kwargs,
        "queue": letter.queue,
        "reason": letter.reason,
        "tries": letter.tries,
        "sent": letter.timestamp,
        "doubt": letter.doubt,
    }


def _since(letter: DeadLetter) -> str:
    if letter.timestamp is None:
        return ""
    try:
        sent = datetime.fromtimestamp(letter.timestamp, UTC)
    except (OSError, OverflowError, ValueError):
        return ""
    return f", sent {sent:%Y-%m-%d %H:%M:%S} UTC"
