"""A call from the admin: the form for it, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pprint import pformat
from time import monotonic
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget, AdminTextInputWidget
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from amphora import AmqpRpcException, RemoteException
from amphora.contrib.django.endpoints import clients
from amphora.logs.remote_text import printable

__all__ = ["CallForm", "CallOutcome", "make_call"]

#: Seconds that a call from the admin may take, at most: a worker of the web server is busy with it.
LONGEST_TIMEOUT = 300.0
DEFAULT_TIMEOUT = 10.0

#: Longest type of an error that is shown, and kept in the log of the admin.
_TYPE_SHOWN = 255

#: Longest result that is shown, in characters.
_SHOWN = 100_000


class JsonField(forms.CharField):
    """Takes a JSON text of one type.

    Args:
        kind: The type that it must be, list or dict.
        wanted: What that is, in words.
    """

    def __init__(self, *, kind: type, wanted: Any, **options: Any) -> None:
        super().__init__(required=False, strip=True, **options)
        self._kind = kind
        self._wanted = wanted

    def clean(self, value: Any) -> Any:
        """Return the value; nothing at all is an empty one."""
        text = super().clean(value)
        if not text:
            return self._kind()
        try:
            found = json.loads(text)
        except RecursionError:
            raise ValidationError(_("This is nested too deeply."), code="invalid") from None
        except ValueError as error:
            raise ValidationError(_("This is no JSON: %(error)s"), code="invalid", params={"error": error}) from None
        if not isinstance(found, self._kind):
            raise ValidationError(self._wanted, code="invalid")
        return found


class CallForm(forms.Form):
    """Asks for a function and its arguments.

    Args:
        names: Functions that are known, to choose from; others may be typed in.
    """

    function = forms.CharField(
        label=gettext_lazy("Function"),
        widget=AdminTextInputWidget(attrs={"list": "amphora-functions", "autocomplete": "off", "spellcheck": "false"}),
    )
    args = JsonField(
        label=gettext_lazy("Arguments"),
        kind=list,
        wanted=gettext_lazy("The arguments must be a JSON list, such as [1, 2]."),
        help_text=gettext_lazy('A JSON list: [42, "text", null]'),
        widget=AdminTextareaWidget(attrs={"rows": 3, "spellcheck": "false", "class": "vLargeTextField amphora-json"}),
    )
    kwargs = JsonField(
        label=gettext_lazy("Keyword arguments"),
        kind=dict,
        wanted=gettext_lazy('The keyword arguments must be a JSON object, such as {"name": 1}.'),
        help_text=gettext_lazy('A JSON object: {"name": "value"}'),
        widget=AdminTextareaWidget(attrs={"rows": 3, "spellcheck": "false", "class": "vLargeTextField amphora-json"}),
    )
    timeout = forms.FloatField(
        label=gettext_lazy("Timeout"),
        min_value=0.1,
        max_value=LONGEST_TIMEOUT,
        help_text=gettext_lazy("Seconds to wait for the result; no server begins with the call after that."),
        widget=forms.NumberInput(attrs={"class": "vIntegerField", "step": "any"}),
    )
    routing_key = forms.CharField(
        label=gettext_lazy("Label"),
        required=False,
        help_text=gettext_lazy("Routing key of a label queue; empty for the service's own queue."),
        widget=AdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, names: Iterable[str] = (), **options: Any) -> None:
        super().__init__(*args, **options)
        self.names = list(names)


@dataclass(frozen=True)
class CallOutcome:
    """What came of a call.

    Args:
        function: Name of the function.
        seconds: How long it took.
        text: The result as indented JSON, or the error's message.
        error_type: The error's type; None if there is a result.
        remote: Whether the function itself raised the error.
        remote_traceback: Where it did, if the server tells.
        cut: How many characters the whole text has; None if all are here.
    """

    function: str
    seconds: float
    text: str
    error_type: str | None = None
    remote: bool = False
    remote_traceback: str | None = None
    cut: int | None = None

    @property
    def milliseconds(self) -> int:
        """How long it took, in milliseconds."""
        return round(self.seconds * 1000)

    @property
    def summary(self) -> str:
        """What came of it, in a line for the log: without the values, which may be confidential."""
        values = {"function": self.function, "type": self.error_type, "ms": self.milliseconds}
        if self.error_type is None:
            text = _("Called %(function)s: returned after %(ms)s ms.")
        elif self.remote:
            text = _("Called %(function)s: it raised %(type)s after %(ms)s ms.")
        else:
            text = _("Called %(function)s: %(type)s after %(ms)s ms.")
        return str(text % values)


def make_call(alias: str, wanted: dict[str, Any]) -> CallOutcome:
    """Call a function, and wait for what comes of it.

    Args:
        alias: Alias of the service.
        wanted: What a valid `CallForm` asks for (its ``cleaned_data``).

    Returns:
        Its result or its error; whatever the call raised is in there.
    """
    name = wanted["function"]
    options: dict[str, Any] = {"function_name": name, "timeout": wanted["timeout"], "expires": True}
    if wanted["routing_key"]:
        options["routing_key"] = wanted["routing_key"]
    started = monotonic()
    try:
        result = clients[alias].call(**options)(*wanted["args"], **wanted["kwargs"])
    except RemoteException as error:
        return CallOutcome(
            name,
            monotonic() - started,
            # Of one argument that, of several all of them: what the remote exception would print.
            _printable(BaseException.__str__(error)[:_SHOWN]),
            # It goes into the admin's log too.
            printable(error.error_type[:_TYPE_SHOWN]),
            remote=True,
            remote_traceback=None if error.remote_traceback is None else _printable(error.remote_traceback[-_SHOWN:]),
        )
    except (AmqpRpcException, TypeError, ValueError, RuntimeError) as error:
        # The last three: arguments that cannot be sent, or settings that no client can be made of.
        return CallOutcome(name, monotonic() - started, _printable(str(error)[:_SHOWN]), type(error).__name__)
    seconds = monotonic() - started
    text = _printable(_readable(result))
    if len(text) > _SHOWN:
        return CallOutcome(name, seconds, text[:_SHOWN], cut=len(text))
    return CallOutcome(name, seconds, text)


def _readable(value: Any) -> str:
    """Return a value as indented JSON, or as Python writes it where it is none."""
    try:
        return json.dumps(value, indent=2, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return pformat(value)


def _printable(text: str) -> str:
    """Return a text that a page can hold: half a surrogate pair, which JSON may bring, has no encoding."""
    return text.encode("utf-8", "backslashreplace").decode()
