"""Feeds bytes that a fuzzer invents, guided by coverage, to everything that reads what comes from the network.

``python -m chaos.fuzz -max_total_time=60`` (libFuzzer's options; needs the package `atheris`); a crash is an exception
that the readers do not promise, and is kept in a file.
"""

import sys
from typing import Any

import atheris

with atheris.instrument_imports(include=["amphora"]):
    from amphora.driver.frames import parse_header
    from amphora.exceptions import WrongRequest
    from amphora.protocol.deadlines import is_expired
    from amphora.protocol.messages import Codec, message_id_of
    from amphora.serializers import RpcJsonSerializer, RpcMsgpackSerializer
    from amphora.serializers.json_text import json_decoder, plain_decoder

CODEC = Codec(RpcJsonSerializer(), [RpcMsgpackSerializer()])
FAST, PLAIN = json_decoder(), plain_decoder()


def read(data: bytes) -> None:
    """Read the bytes as a header with a body after it, and as a body alone."""
    cut = data[0] if data else 0
    header, body = data[1 : 1 + cut], data[1 + cut :]
    properties: dict[str, Any] = {}
    if len(header) >= 14:
        _, properties = parse_header(header, 0, len(header))
        message_id_of(properties)
        is_expired(properties)
    for content_type in (properties, {}, {"content_type": "application/msgpack"}):
        try:
            CODEC.read_request(content_type, body)
        except WrongRequest as error:
            str(error)
        CODEC.read_reply(content_type, body)
    if _outcome(FAST, body) != _outcome(PLAIN, body):
        raise AssertionError(f"two readings of {body!r}")


def _outcome(decode: object, body: bytes) -> str:
    """Give the value as text, for NaN is not equal to itself; and one word for all errors."""
    try:
        return repr(decode(body))  # type: ignore[operator]
    except (ValueError, RecursionError):
        return "refused"


if __name__ == "__main__":
    atheris.Setup(sys.argv, read)
    atheris.Fuzz()
