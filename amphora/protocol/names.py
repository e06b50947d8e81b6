"""Every AMQP name of a service.

Sources: AMQP 0-9-1, 1.3.4 (short strings hold at most 255 bytes) and the layout that Amphora 0.1
documents.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from uuid import uuid4

from amphora.protocol.name_rules import printable_name

__all__ = [
    "CONTROL_KEY",
    "DEFAULT_QUEUE_TEMPLATE",
    "RESERVED_PREFIX",
    "Names",
    "check_routing_key",
    "uuid_of",
]

#: The name that 0.1.3 used. The one in its documentation, ``rpc_{label}_request``, is the name of another service's own
#: queue where a label, such as the name of a user, is spelled like that service.
DEFAULT_QUEUE_TEMPLATE = "rpc_{namespace}_queue_{label}"

#: Names of functions that servers have of themselves begin with it.
RESERVED_PREFIX = "amphora."

#: Routing key of requests that all servers of a service answer.
CONTROL_KEY = "amphora.control"

#: Longest name that fits into an AMQP short string, in bytes.
_LONGEST = 255


@dataclass(frozen=True)
class Names:
    """Names of one service's exchanges and queues.

    Args:
        namespace: The service name.
        queue_template: Template of a label queue's name; knows ``{label}`` and ``{namespace}``.

    Raises:
        TypeError: The namespace or the template is not text.
        ValueError: The namespace is empty, has control characters or makes a name too long for AMQP, or the
            template lacks ``{label}`` or has an unknown field.
    """

    namespace: str
    queue_template: str = DEFAULT_QUEUE_TEMPLATE

    def __post_init__(self) -> None:
        if not isinstance(self.namespace, str):
            raise TypeError(f"service_name must be a str, not {self.namespace!r}")
        if not self.namespace:
            raise ValueError("service_name must not be empty")
        _check_template(self.queue_template)
        _short(self.request_exchange, "service_name")
        _short(self.response_exchange, "service_name")

    @property
    def request_exchange(self) -> str:
        """Exchange that takes requests."""
        return f"rpc_{self.namespace}_request"

    @property
    def response_exchange(self) -> str:
        """Exchange that takes replies."""
        return f"rpc_{self.namespace}_response"

    @property
    def request_queue(self) -> str:
        """Queue that all servers of the service share."""
        return f"rpc_{self.namespace}_request"

    @property
    def dead_letters(self) -> str:
        """Exchange and queue, and routing key between them, of the requests that were given up."""
        return f"rpc_{self.namespace}_dead"

    def tries_queue(self, identity: str) -> str:
        """Queue that counts the tries of one request."""
        return _short(f"rpc_{self.namespace}_{identity}_tries", "service_name")

    def response_queue(self, uuid: str) -> str:
        """Queue with the replies to one client."""
        return _short(f"rpc_{self.namespace}_{uuid}_response", "client uuid")

    def control_queue(self, uuid: str) -> str:
        """Queue of one server for requests that all servers answer."""
        return _short(f"rpc_{self.namespace}_{uuid}_control", "server uuid")

    def fanout_queue(self, uuid: str) -> str:
        """Queue of one fan-out server."""
        return _short(f"rpc_{self.namespace}_{uuid}_request", "server uuid")

    def label_queue(self, label: str) -> str:
        """Queue of one label, by the template.

        Raises:
            TypeError: The label is not text.
            ValueError: The label is empty or no Unicode text, has control characters, makes a name longer than
                255 bytes, or gives the name of the service's own request queue.
        """
        if not isinstance(label, str):
            raise TypeError(f"a queue label must be a str, not {label!r}")
        if not label:
            raise ValueError("a queue label must not be empty")
        name = self.queue_template.format(label=label, namespace=self.namespace)
        if name == self.request_queue:
            raise ValueError(
                f"label {label!r} gives {name!r}, the request queue of the service itself; "
                "choose another label or another queue_template"
            )
        return _short(name, f"label {label[:40]!r}")


def uuid_of(value: str | None) -> str:
    """Return the identifier of a client or server; a random one for None.

    Raises:
        TypeError: It is not text.
        ValueError: It is empty, or see `check_routing_key`.
    """
    if value is None:
        return str(uuid4())
    if not isinstance(value, str):
        raise TypeError(f"uuid must be a str, not {value!r}")
    if not value:
        raise ValueError("uuid must not be empty; leave it out for a random one")
    return _short(value, "uuid")


def check_routing_key(routing_key: str) -> str:
    """Return the routing key if AMQP can carry it.

    Raises:
        TypeError: It is not text.
        ValueError: It is longer than 255 bytes, has control characters, or holds a lone surrogate, which UTF-8 has
            no bytes for.
    """
    if not isinstance(routing_key, str):
        raise TypeError(f"routing_key must be a str, not {routing_key!r}")
    return _short(routing_key, "routing_key")


def _check_template(template: str) -> None:
    if not isinstance(template, str):
        raise TypeError(f"queue_template must be a str, not {template!r}")
    try:
        fields = {field for _, field, _, _ in string.Formatter().parse(template)} - {None}
    except ValueError as error:
        raise ValueError(f"queue_template {template!r} is not a template: {error}") from error
    unknown = fields - {"label", "namespace"}
    if unknown:
        raise ValueError(
            f"queue_template {template!r} has unknown fields {sorted(map(str, unknown))}; "
            "it may use {label} and {namespace}"
        )
    if "label" not in fields:
        raise ValueError(f"queue_template {template!r} must contain {{label}}")
    try:
        template.format(label="label", namespace="namespace")
    except (ValueError, LookupError) as error:
        raise ValueError(f"queue_template {template!r} is not a template: {error}") from error
    printable_name(template, "queue_template")


def _short(name: str, what: str) -> str:
    # What is refused here could not be encoded later, when it is on its way in the outbox.
    try:
        size = len(name) if name.isascii() else len(name.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"{what} is not Unicode text: {name[:60]!r} holds a lone surrogate") from error
    if size > _LONGEST:
        raise ValueError(f"{what} is too long: {name[:60]!r}... has {size} bytes, AMQP allows {_LONGEST}")
    return printable_name(name, what)
