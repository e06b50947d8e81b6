"""`MessageOptions`: which service it is, and how its messages are encoded, signed and read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from amphora.options.broker_options import BrokerOptions
from amphora.options.fields import Where, option
from amphora.options.settings import MAX_RECEIVED_SIZE
from amphora.protocol.messages import Codec
from amphora.protocol.names import Names
from amphora.protocol.signatures import signatures_of
from amphora.serializers import AbstractRpcSerializer, RpcJsonSerializer, SerializerOption, make_serializer
from amphora.value_checks import at_least_one

__all__ = ["MessageOptions"]


def _service_name_of(name: str, value: Any) -> str:  # noqa: ARG001  (the errors name it)
    return Names(value).namespace


def _serializer_of(name: str, value: Any) -> AbstractRpcSerializer:  # noqa: ARG001  (the errors say what it is)
    return make_serializer(value)


def _serializers_of(name: str, value: Any) -> tuple[AbstractRpcSerializer, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a list of serializers, not {value!r}")
    return tuple(make_serializer(each) for each in value)


def _keys_of(name: str, value: Any) -> Any:  # noqa: ARG001  (the errors name it)
    signatures_of(value, service="")
    return value


@dataclass(frozen=True, kw_only=True)
class MessageOptions(BrokerOptions):
    """Which service it is, and how its messages are encoded, signed and read."""

    service_name: str = option(
        "Namespace of the RPC service.",
        check=_service_name_of,
        # An application of Celery names two services, with settings of the integration's own.
        where=Where.CONSTRUCTOR | Where.DJANGO,
        summary="Namespace of the service; the same for all its servers and clients",
    )
    serializer: SerializerOption = option(
        client="Encodes requests; a subclass of `AbstractRpcSerializer`, or an instance.",
        server="Decodes requests and encodes replies; a subclass of `AbstractRpcSerializer`, or an instance.",
        dead_letters="Decodes requests; a subclass of `AbstractRpcSerializer`, or an instance.",
        default=RpcJsonSerializer,
        check=_serializer_of,
        flags=("--serializer",),
        summary="Encodes and decodes messages: class, instance, or dotted path of a [serializer](serializers.md)",
    )
    accept: Sequence[SerializerOption] = option(
        client="Further serializers whose replies are understood.",
        server="Further serializers whose requests are understood, and answered in kind.",
        dead_letters="Further serializers whose requests are understood.",
        default=(),
        check=_serializers_of,
        fits=lambda value: isinstance(value, (list, tuple)),
        wanted="a list of serializers, or of dotted paths to them",
        summary="Further serializers whose messages are understood, and answered in kind",
    )
    signing_keys: Sequence[bytes | str] = option(
        client="Keys shared by the clients and servers of the service, at least 16 bytes each: every request is signed "
        "with the first one, and a reply that was signed with none of them is refused (HMAC-SHA256, see "
        "docs/security.md). By default nothing is signed, and everything accepted.",
        server="Keys shared by the clients and servers of the service, at least 16 bytes each: every reply is signed "
        "with the first one, and a request that was signed with none of them is refused (HMAC-SHA256, see "
        "docs/security.md). By default nothing is signed, and everything accepted.",
        dead_letters="Keys of the service; what is given back is signed with the first one.",
        default=(),
        check=_keys_of,
        flags=("--signing-key-file",),
        summary="Keys shared by the clients and servers of the service, at least 16 bytes each: messages are "
        "[signed](security.md#signatures) with the first one, and refused unless signed with one of them",
        secret=True,
    )
    max_received_size: int = option(
        client="Bytes of one reply's body that are decoded; the call of a larger one raises `WrongResult`. JSON and "
        "MessagePack take up to 75 times their size in memory while they are decoded.",
        server="Bytes of one request's body that are decoded; a larger one is answered with `WrongRequest`, and not "
        "run. JSON and MessagePack take up to 75 times their size in memory while they are decoded.",
        dead_letters="Bytes of a letter's body that are decoded; a larger one is shown as unreadable.",
        default=MAX_RECEIVED_SIZE,
        check=at_least_one,
        flags=("--max-received-size",),
        summary="Bytes of one message's body that [are decoded](security.md#large-messages)",
    )

    @cached_property
    def names(self) -> Names:
        """The names of the service's queues and exchanges."""
        return Names(self.service_name)

    @property
    def codec(self) -> Codec:
        """What encodes and decodes messages."""
        accepted = [make_serializer(each) for each in self.accept]
        return Codec(make_serializer(self.serializer), accepted, max_size=self.max_received_size)
