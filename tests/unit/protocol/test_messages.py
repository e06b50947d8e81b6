"""The wire format: what is written, what is understood, and that nothing breaks the readers."""

import contextlib
import json
import math
from collections.abc import Callable
from typing import Any

import gevent
import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amphora.exceptions import (
    AmqpRpcException,
    DeadLettered,
    Forbidden,
    IgnoreRequest,
    NoResult,
    RemoteException,
    Unroutable,
    WrongRequest,
    WrongResult,
)
from amphora.protocol.messages import (
    Codec,
    Failure,
    Request,
    Result,
    message_id_of,
    reply_properties,
    request_properties,
)
from amphora.serializers import AbstractRpcSerializer, RpcJsonSerializer, RpcMsgpackSerializer

JSON = Codec(RpcJsonSerializer())
MSGPACK = Codec(RpcMsgpackSerializer())
BOTH = Codec(RpcJsonSerializer(), [RpcMsgpackSerializer()])


class ReprSerializer(AbstractRpcSerializer):
    """A user's own serializer, with a content type in letters of both cases and with a parameter."""

    content_type = "Text/X-Repr; version=1"

    def dumps(self, value: Any) -> bytes:
        return repr(value).encode()

    def loads(self, body: bytes) -> Any:
        return json.loads(body.decode().replace("'", '"'))


class BrokenSerializer(AbstractRpcSerializer):
    """A serializer that fails at everything."""

    content_type = "text/broken"

    def dumps(self, value: Any) -> bytes:
        raise RuntimeError("broken")

    def loads(self, body: bytes) -> Any:
        raise RuntimeError("broken")


class TextSerializer(AbstractRpcSerializer):
    """A serializer whose author forgot to encode the text."""

    content_type = "text/plain"

    def dumps(self, value: Any) -> bytes:
        return json.dumps(value)  # type: ignore[return-value]

    def loads(self, body: bytes) -> Any:
        return json.loads(body)


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr today")


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text today")


class OwnArgs(Exception):
    args = None  # type: ignore[assignment]


@pytest.fixture(params=[JSON, MSGPACK], ids=["json", "msgpack"])
def codec(request: pytest.FixtureRequest) -> Codec:
    made: Codec = request.param
    return made


def error_of(outcome: Result | Failure) -> AmqpRpcException:
    assert isinstance(outcome, Failure)
    return outcome.error


def reply_of(codec: Codec, encoded: tuple[str, bytes]) -> Result | Failure:
    content_type, body = encoded
    return codec.read_reply({"content_type": content_type}, body)


# Properties.


def test_a_request_has_these_properties_and_no_others() -> None:
    assert request_properties("id", reply_to="uuid", content_type="application/json", timestamp=5) == {
        "message_id": "id",
        "correlation_id": "id",
        "reply_to": "uuid",
        "content_type": "application/json",
        "delivery_mode": 2,
        "timestamp": 5,
    }


def test_a_reply_has_these_properties_and_no_others() -> None:
    assert reply_properties("id", content_type="application/json") == {
        "message_id": "id",
        "correlation_id": "id",
        "content_type": "application/json",
        "delivery_mode": 2,
    }


def test_the_reply_to_a_request_without_an_id_has_none() -> None:
    assert reply_properties(None, content_type="t") == {"content_type": "t", "delivery_mode": 2}


@pytest.mark.parametrize(
    ("properties", "message_id"),
    [
        ({"message_id": "m"}, "m"),
        ({"message_id": "m", "correlation_id": "c"}, "m"),
        ({"correlation_id": "c"}, "c"),
        ({"message_id": "", "correlation_id": "c"}, "c"),
        ({}, None),
    ],
)
def test_a_message_is_known_by_its_message_id_or_else_its_correlation_id(
    properties: dict[str, str], message_id: str | None
) -> None:
    assert (message_id_of(properties) or None) == message_id


# Requests.


def test_a_request_reads_as_0_1_3_writes_it() -> None:
    body = JSON.encode_request("send.email", (1, "é"), {"k": None})

    assert body == b'{"func": "send.email", "args": [1, "\\u00e9"], "kwargs": {"k": null}}'


def test_a_request_of_0_1_3_without_content_type_is_read_with_the_endpoints_own_serializer() -> None:
    body = b'{"args": [1, 2], "func": "send.email.text", "kwargs": {"k": "v"}}'

    assert JSON.read_request({}, body) == Request("send.email.text", [1, 2], {"k": "v"})
    assert BOTH.read_request({"content_type": None}, body).function == "send.email.text"
    assert BOTH.read_request({"content_type": ""}, body).function == "send.email.text"


def test_members_that_we_do_not_know_are_left_alone() -> None:
    body = b'{"func": "f", "args": [], "kwargs": {}, "id": 5, "v": {"x": []}}'

    assert JSON.read_request({}, body) == Request("f", [], {})


def test_arguments_that_cannot_be_encoded_are_a_type_error_that_names_the_function(codec: Codec) -> None:
    with pytest.raises(TypeError, match=r"arguments of 'f' cannot be encoded as application/.*: cannot encode object"):
        codec.encode_request("f", (object(),), {})


@pytest.mark.parametrize(
    "argument",
    [math.inf, "\ud800", 2**64, 10**5000, b"\xff", {(1, 2): 3}, {1: 2}, [[]], Unprintable(), UnprintableError()],
    ids=lambda argument: type(argument).__name__,
)
def test_an_argument_is_encoded_or_a_type_error_and_never_anything_else(codec: Codec, argument: Any) -> None:
    outcome: Any = TypeError
    with contextlib.suppress(TypeError):
        outcome = codec.encode_request("f", (argument,), {})

    assert outcome is TypeError or isinstance(outcome, bytes)


def test_an_argument_that_holds_itself_is_a_type_error(codec: Codec) -> None:
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(TypeError, match="arguments of 'f' cannot be encoded"):
        codec.encode_request("f", (endless,), {})


def test_an_argument_nested_too_deeply_is_a_type_error(codec: Codec) -> None:
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]

    with pytest.raises(TypeError, match="arguments of 'f' cannot be encoded"):
        codec.encode_request("f", (deep,), {})


def test_a_serializer_that_returns_no_bytes_is_found_out_before_anything_is_sent() -> None:
    with pytest.raises(TypeError, match=r"TextSerializer\.dumps returned a str, not bytes"):
        Codec(TextSerializer()).encode_request("f", (), {})


UNREADABLE_REQUESTS = [
    b"",
    b"\xff\xfe",
    b"not json",
    b"[1, 2",
    b"null",
    b"5",
    b'"func"',
    b'["func", "args", "kwargs"]',
    b"{}",
    b'{"func": "f"}',
    b'{"func": "f", "args": []}',
    b'{"func": "f", "kwargs": {}}',
    b'{"func": 5, "args": [], "kwargs": {}}',
    b'{"func": ["f"], "args": [], "kwargs": {}}',
    b'{"func": null, "args": [], "kwargs": {}}',
    b'{"func": "f", "args": {}, "kwargs": {}}',
    b'{"func": "f", "args": "ab", "kwargs": {}}',
    b'{"func": "f", "args": null, "kwargs": {}}',
    b'{"func": "f", "args": [], "kwargs": []}',
    b'{"func": "f", "args": [], "kwargs": null}',
    b"[" * 200_000,
    b'{"func": "f", "args": [' + b"9" * 100_000 + b'], "kwargs": {}}',
]


@pytest.mark.parametrize("body", UNREADABLE_REQUESTS, ids=lambda body: repr(body[:40]))
def test_a_request_that_cannot_be_read_is_a_wrong_request_that_quotes_it(body: bytes) -> None:
    with pytest.raises(WrongRequest) as caught:
        JSON.read_request({}, body)

    assert repr(body[:200]) in str(caught.value)
    assert len(str(caught.value)) < 600


def test_names_of_arguments_must_be_text_in_messagepack_too() -> None:
    with pytest.raises(WrongRequest, match="is not allowed for map key"):
        MSGPACK.read_request({}, msgpack.packb({"func": "f", "args": [], "kwargs": {5: 6}}))


# Content types.


@pytest.mark.parametrize("content_type", ["application/x-python-serialize", "application/x-yaml", "text/plain", "?"])
def test_another_content_type_is_a_wrong_request_that_says_which_are_right(content_type: str) -> None:
    with pytest.raises(
        WrongRequest, match=r"content type .* is not accepted here \(accepted: application/json, application/msgpack\)"
    ):
        BOTH.read_request({"content_type": content_type}, b'{"func": "f", "args": [], "kwargs": {}}')


def test_another_content_type_in_a_reply_is_a_wrong_result() -> None:
    error = error_of(JSON.read_reply({"content_type": "application/msgpack"}, b"\x80"))

    assert isinstance(error, WrongResult)
    assert "content type 'application/msgpack' is not accepted here" in str(error)


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_parameters_and_case_of_a_content_type_do_not_matter(content_type: str) -> None:
    body = b'{"func": "f", "args": [], "kwargs": {}}'

    assert JSON.read_request({"content_type": content_type}, body).function == "f"


def test_a_second_serializer_is_understood_and_answered_in_kind() -> None:
    body = MSGPACK.encode_request("f", (b"\x00",), {})
    content_type = "application/msgpack"

    assert BOTH.read_request({"content_type": content_type}, body) == Request("f", [b"\x00"], {})
    assert reply_of(MSGPACK, BOTH.encode_result(b"\xff", content_type=content_type)) == Result(b"\xff")
    assert BOTH.encode_error(ValueError(), content_type=content_type)[0] == content_type


@pytest.mark.parametrize("content_type", [None, "", "text/unknown"])
def test_an_answer_to_no_known_content_type_is_in_the_endpoints_own(content_type: str | None) -> None:
    answered, body = BOTH.encode_result(1, content_type=content_type)

    assert answered == "application/json"
    assert json.loads(body) == {"result": 1}


def test_a_users_own_serializer_is_used_both_ways() -> None:
    codec = Codec(ReprSerializer())

    body = codec.encode_request("f", ("x",), {})

    assert body == b"{'func': 'f', 'args': ['x'], 'kwargs': {}}"
    assert codec.read_request({"content_type": ReprSerializer.content_type}, body) == Request("f", ["x"], {})
    assert reply_of(codec, codec.encode_result(["x"], content_type=codec.content_type)) == Result(["x"])


def test_a_second_serializer_with_an_unusual_content_type_is_answered_in_kind() -> None:
    codec = Codec(RpcJsonSerializer(), [ReprSerializer()])

    content_type, body = codec.encode_result("x", content_type=ReprSerializer.content_type)

    assert (content_type, body) == (ReprSerializer.content_type, b"{'result': 'x'}")


# Replies.


@pytest.mark.parametrize("value", [None, 0, False, "", [], {}, {"exception": 1}, [1, {"x": None}]])
def test_every_plain_result_comes_back(codec: Codec, value: Any) -> None:
    assert reply_of(codec, codec.encode_result(value, content_type=None)) == Result(value)


def test_a_reply_reads_as_0_1_3_writes_it() -> None:
    _, result = JSON.encode_result([1, "é"], content_type=None)
    _, error = JSON.encode_error(ValueError("x", -5), content_type=None)

    assert json.loads(result) == {"result": [1, "é"]}
    assert json.loads(error) == {"exception": {"type": "ValueError", "args": ["x", -5]}}


def test_a_result_that_cannot_be_encoded_comes_back_as_the_type_error_that_says_so(codec: Codec) -> None:
    error = error_of(reply_of(codec, codec.encode_result({"x": object()}, content_type=None)))

    assert isinstance(error, RemoteException)
    assert error.error_type == "TypeError"
    assert str(error).startswith("TypeError: the result cannot be encoded as application/")
    assert "cannot encode object" in str(error)


def test_an_exception_arrives_with_its_type_and_arguments(codec: Codec) -> None:
    error = error_of(reply_of(codec, codec.encode_error(ValueError("x", [-5]), content_type=None)))

    assert isinstance(error, RemoteException)
    assert (error.error_type, error.args, error.remote_traceback) == ("ValueError", ("x", [-5]), None)


def test_a_traceback_travels_where_it_is_given(codec: Codec) -> None:
    encoded = codec.encode_error(ValueError("x"), content_type=None, traceback="Traceback ...")

    error = error_of(reply_of(codec, encoded))

    assert isinstance(error, RemoteException)
    assert error.remote_traceback == "Traceback ..."


def test_arguments_that_cannot_be_encoded_travel_as_text_and_the_others_as_they_are(codec: Codec) -> None:
    error = error_of(reply_of(codec, codec.encode_error(ValueError("x", 1j, [5]), content_type=None)))

    assert error.args == ("x", "1j", [5])


def test_a_wrong_request_arrives_as_itself(codec: Codec) -> None:
    error = error_of(reply_of(codec, codec.encode_error(WrongRequest("No function f defined"), content_type=None)))

    assert type(error) is WrongRequest
    assert error.args == ("No function f defined",)


@pytest.mark.parametrize("kind", [WrongRequest, Forbidden, DeadLettered])
def test_what_the_server_has_decided_arrives_as_such(codec: Codec, kind: type[Exception]) -> None:
    error = error_of(reply_of(codec, codec.encode_error(kind("x"), content_type=None)))

    assert type(error) is kind


@pytest.mark.parametrize("kind", [WrongRequest, Forbidden, DeadLettered, NoResult, Unroutable])
def test_what_a_function_raises_does_not_pass_for_a_decision_of_the_server(codec: Codec, kind: type[Exception]) -> None:
    error = error_of(reply_of(codec, codec.encode_error(kind("x", 5), content_type=None, of_function=True)))

    assert type(error) is RemoteException
    assert error.error_type == kind.__name__
    assert error.args == ("x", 5)


@pytest.mark.parametrize("name", ["WrongRequest", "DeadLettered", "Forbidden"])
def test_nor_does_it_for_clients_of_older_releases(codec: Codec, name: str) -> None:
    kind = {"WrongRequest": WrongRequest, "DeadLettered": DeadLettered, "Forbidden": Forbidden}[name]

    _, body = codec.encode_error(kind("x"), content_type=None, of_function=True)

    # They know these by their bare names.
    assert name.encode() in body
    assert f'"{name}"'.encode() not in body
    assert f"{name}".encode() in body.replace(f"amphora.{name}".encode(), name.encode())


@pytest.mark.parametrize("raised", [NoResult("x"), WrongResult("x"), IgnoreRequest("x")])
def test_our_other_exceptions_arrive_as_remote_ones(codec: Codec, raised: Exception) -> None:
    error = error_of(reply_of(codec, codec.encode_error(raised, content_type=None)))

    assert isinstance(error, RemoteException)
    assert str(error) == f"{type(raised).__name__}: x"


def test_a_remote_exception_of_a_further_call_keeps_its_type_in_the_text(codec: Codec) -> None:
    error = error_of(reply_of(codec, codec.encode_error(RemoteException("KeyError", ["x"]), content_type=None)))

    assert str(error) == "RemoteException: KeyError: x"


def test_a_remote_exception_of_a_further_call_is_the_cause_with_its_own_type_and_arguments(codec: Codec) -> None:
    innermost = RemoteException("OSError", [5], "Traceback of the innermost")
    inner = RemoteException("RemoteException", ["OSError: 5"])
    inner.__cause__ = innermost

    error = error_of(reply_of(codec, codec.encode_error(inner, content_type=None, of_function=True)))

    cause = error.__cause__
    assert isinstance(cause, RemoteException)
    assert (cause.error_type, cause.args) == ("RemoteException", ("OSError: 5",))
    assert isinstance(cause.__cause__, RemoteException)
    assert (cause.__cause__.error_type, cause.__cause__.args) == ("OSError", (5,))
    assert cause.__cause__.remote_traceback == "Traceback of the innermost"


def test_what_cannot_be_encoded_of_a_further_exception_travels_as_text(codec: Codec) -> None:
    error = error_of(reply_of(codec, codec.encode_error(RemoteException("KeyError", [1j]), content_type=None)))

    assert isinstance(error.__cause__, RemoteException)
    assert error.__cause__.args == ("1j",)


def test_a_chain_of_exceptions_has_an_end(codec: Codec) -> None:
    endless = RemoteException("KeyError")
    endless.__cause__ = endless

    error: Any = error_of(reply_of(codec, codec.encode_error(endless, content_type=None)))

    length = 0
    while error is not None:
        error, length = error.__cause__, length + 1
    assert length == 6


@pytest.mark.parametrize("cause", [5, {}, {"type": 5, "args": []}, {"type": "X"}, []])
def test_a_cause_that_cannot_be_read_is_left_out(cause: Any) -> None:
    body = (
        JSON.encode_result(None, content_type=None)[1]
        .replace(b'"result":null', b'"exception":{"type":"X","args":[],"cause":%s}' % json.dumps(cause).encode())
        .replace(b'"result": null', b'"exception":{"type":"X","args":[],"cause":%s}' % json.dumps(cause).encode())
    )

    error = error_of(JSON.read_reply({}, body))

    assert isinstance(error, RemoteException)
    assert error.__cause__ is None


# Size.


def test_what_is_too_large_is_not_decoded() -> None:
    class Strict(RpcJsonSerializer):
        def loads(self, body: bytes) -> Any:
            raise AssertionError("decoded")

    codec = Codec(Strict(), max_size=10)

    with pytest.raises(WrongRequest, match=r"has 11 bytes, and this server reads 10 at most \(max_received_size\)"):
        codec.read_request({}, b"x" * 11)
    error = error_of(codec.read_reply({}, b"x" * 11))
    assert isinstance(error, WrongResult)
    assert "has 11 bytes, and this client reads 10 at most (max_received_size)" in str(error)


AWKWARD_ERRORS = [
    UnprintableError(),
    ValueError(Unprintable(), object()),
    RemoteException("E", (Unprintable(), Unprintable())),
    OwnArgs("x"),
    ValueError("\ud800"),
    ValueError({"\udfff": 1}, "\ud800"),
    ValueError(2**70, 10**5000),
    ValueError(b"\xff", bytearray(b"x")),
    ValueError({(1, 2): 3}),
    KeyError(("a", "b")),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    OSError(2, "No such file", "/tmp"),
    ExceptionGroup("several", [ValueError("x")]),
    gevent.Timeout(5),
    SystemExit(object()),
    StopIteration(lambda: None),
    ValueError(type("Meta", (type,), {"__repr__": lambda _: 5})("Odd", (), {})),
]


@pytest.mark.parametrize("raised", AWKWARD_ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("traceback", [None, "File \ud800"])
def test_whatever_is_raised_the_caller_is_told(codec: Codec, raised: BaseException, traceback: str | None) -> None:
    encoded = codec.encode_error(raised, content_type=None, traceback=traceback)

    error = error_of(reply_of(codec, encoded))

    assert isinstance(error, RemoteException)
    assert error.error_type == type(raised).__name__
    assert (error.remote_traceback is None) == (traceback is None)


def _endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def _deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(200_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    "make",
    [object, Unprintable, UnprintableError, _endless, _deep, lambda: 10**5000, lambda: {(): 0}, lambda: 1j],
    ids=["object", "unprintable", "error", "endless", "deep", "huge", "key", "complex"],
)
def test_whatever_is_returned_the_caller_is_answered(codec: Codec, make: Callable[[], Any]) -> None:
    answered = reply_of(codec, codec.encode_result(make(), content_type=None))
    raised = reply_of(codec, codec.encode_error(ValueError(make()), content_type=None))

    assert isinstance(answered, Result | Failure)
    assert isinstance(raised, Failure)
    assert str(raised.error).startswith("ValueError")


@pytest.mark.parametrize("serializer", [BrokenSerializer(), TextSerializer()], ids=lambda each: type(each).__name__)
def test_a_serializer_that_fails_at_everything_is_told_in_json(serializer: AbstractRpcSerializer) -> None:
    content_type, body = Codec(serializer).encode_result(1, content_type=None)

    error = error_of(JSON.read_reply({"content_type": content_type}, body))

    assert content_type == "application/json"
    assert str(error).startswith(f"TypeError: the result cannot be encoded as {serializer.content_type}: ")


UNREADABLE_REPLIES = [
    b"",
    b"\xff",
    b"not json",
    b"5",
    b"[]",
    b"{}",
    b"null",
    b'"result"',
    b'"exception"',
    b'{"exception": null}',
    b'{"exception": "boom"}',
    b'{"exception": {}}',
    b'{"exception": {"type": "X"}}',
    b'{"exception": {"args": []}}',
    b'{"exception": {"type": 5, "args": []}}',
    b'{"exception": {"type": "X", "args": "abc"}}',
    b'{"exception": {"type": "X", "args": {}}}',
    b"[" * 200_000,
]


@pytest.mark.parametrize("body", UNREADABLE_REPLIES, ids=lambda body: repr(body[:40]))
def test_a_reply_that_cannot_be_read_is_a_wrong_result_that_quotes_it(body: bytes) -> None:
    error = error_of(JSON.read_reply({}, body))

    assert isinstance(error, WrongResult)
    assert repr(body[:200]) in str(error)
    assert len(str(error)) < 600


# Anything at all.

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
members = st.sampled_from(["func", "args", "kwargs", "result", "exception", "type", "traceback"])
near_messages = st.dictionaries(members, json_values | st.dictionaries(members, json_values), max_size=5)
content_types = st.none() | st.text(max_size=20) | st.sampled_from(["application/json", "application/msgpack", ";"])
bodies = (
    st.binary()
    | (json_values | near_messages).map(lambda value: json.dumps(value).encode())
    | near_messages.map(lambda value: msgpack.packb(value, default=str, unicode_errors="surrogatepass"))
)


@given(content_type=content_types, body=bodies)
@example("application/msgpack", b"\xc1")
@example("application/msgpack", b"\x81\x90\x01")
@example("application/msgpack", b"\xdf\xff\xff\xff\xff")
@example("application/msgpack", b"\xd6\xff\x00\x00\x00\x00")
@example("application/msgpack", b"\x81\xa4func\xd6\xff\x00\x00\x00\x00")
@example("application/json", b'{"func": "f", "args": [NaN], "kwargs": {}}')
def test_no_request_brings_anything_but_a_wrong_request_out_of_the_reader(
    content_type: str | None, body: bytes
) -> None:
    with contextlib.suppress(WrongRequest):
        request = BOTH.read_request({"content_type": content_type}, body)

        assert type(request) is Request
        assert (type(request.function), type(request.args), type(request.kwargs)) == (str, list, dict)


@given(content_type=content_types, body=bodies)
@example("application/msgpack", b"\x81\x90\x01")
@example("application/json", b'{"exception": {"type": "X", "args": [], "traceback": 5}}')
def test_no_reply_brings_an_exception_out_of_the_reader(content_type: str | None, body: bytes) -> None:
    outcome = BOTH.read_reply({"content_type": content_type}, body)

    assert isinstance(outcome, Result) or isinstance(outcome.error, WrongRequest | WrongResult | RemoteException)


json_arguments = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
msgpack_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
msgpack_arguments = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | msgpack_text
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(msgpack_text, inner, max_size=4),
    max_leaves=10,
)


@given(function=st.text(), args=st.lists(json_arguments), kwargs=st.dictionaries(st.text(), json_arguments))
def test_any_json_request_comes_back(function: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    body = JSON.encode_request(function, args, kwargs)

    assert JSON.read_request({}, body) == Request(function, args, kwargs)


@given(function=msgpack_text, args=st.lists(msgpack_arguments), kwargs=st.dictionaries(msgpack_text, msgpack_arguments))
def test_any_messagepack_request_comes_back(function: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    body = MSGPACK.encode_request(function, args, kwargs)

    assert MSGPACK.read_request({}, body) == Request(function, args, kwargs)


@given(value=json_arguments)
def test_any_json_result_comes_back(value: Any) -> None:
    assert reply_of(JSON, JSON.encode_result(value, content_type=None)) == Result(value)


@given(value=msgpack_arguments)
def test_any_messagepack_result_comes_back(value: Any) -> None:
    assert reply_of(MSGPACK, MSGPACK.encode_result(value, content_type=None)) == Result(value)


anything = st.recursive(
    json_values | st.binary() | st.complex_numbers() | st.builds(object) | st.builds(Unprintable) | st.uuids(),
    lambda inner: st.lists(inner) | st.sets(st.text()) | st.dictionaries(st.text() | st.tuples(st.text()), inner),
    max_leaves=6,
)


@given(value=anything, content_type=content_types)
def test_whatever_is_given_to_the_encoder_of_results_a_reply_comes_out(value: Any, content_type: str | None) -> None:
    encoded = BOTH.encode_result(value, content_type=content_type)

    outcome = reply_of(BOTH, encoded)

    assert isinstance(outcome, Result) or (
        isinstance(outcome.error, RemoteException) and outcome.error.error_type == "TypeError"
    )


@given(
    kind=st.sampled_from([ValueError, KeyError, OwnArgs, UnprintableError, BaseException, NoResult]),
    args=st.lists(anything, max_size=3),
    content_type=content_types,
    traceback=st.none() | st.text(),
)
def test_whatever_is_given_to_the_encoder_of_errors_a_reply_comes_out(
    kind: type[BaseException], args: list[Any], content_type: str | None, traceback: str | None
) -> None:
    encoded = BOTH.encode_error(kind(*args), content_type=content_type, traceback=traceback)

    error = error_of(reply_of(BOTH, encoded))

    assert isinstance(error, RemoteException)
    assert error.error_type == kind.__name__
