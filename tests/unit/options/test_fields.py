"""The fields of the options classes are what the constructors take, with the same names, types and defaults."""

import inspect
import re
from collections.abc import Callable
from dataclasses import MISSING
from typing import Any

import pytest

from amphora import AmqpRpcClient, AmqpRpcServer, DeadLetters
from amphora.options.broker_options import BrokerOptions
from amphora.options.client_options import ClientOptions
from amphora.options.dead_letter_options import DeadLetterOptions
from amphora.options.fields import Where, options_of
from amphora.options.server_options import ServerOptions
from tests.support.option_texts import DOCUMENTED, arguments_of, section_of

CONSTRUCTORS = [(AmqpRpcClient, ClientOptions), (AmqpRpcServer, ServerOptions), (DeadLetters, DeadLetterOptions)]
OPTIONS = [options for _, options in CONSTRUCTORS]


@pytest.mark.parametrize(("endpoint", "options"), CONSTRUCTORS)
def test_a_constructor_takes_the_fields_of_its_options(endpoint: Callable[..., Any], options: type) -> None:
    parameters = inspect.signature(endpoint).parameters
    fields = {name: each for name, each in options_of(options).items() if Where.CONSTRUCTOR in each.where}

    assert sorted(parameters) == sorted(fields)
    for name, parameter in parameters.items():
        assert parameter.annotation == fields[name].type, name
        default = MISSING if parameter.default is inspect.Parameter.empty else parameter.default
        # Defaults of the broker are told from equal values by their identity.
        assert default is fields[name].default or default == fields[name].default, name


@pytest.mark.parametrize("name", ["amqp_host", "amqp_port", "amqp_user", "amqp_password", "amqp_vhost"])
@pytest.mark.parametrize(("endpoint", "options"), CONSTRUCTORS)
def test_a_default_of_the_broker_is_the_very_object_of_the_field(
    name: str, endpoint: Callable[..., Any], options: type
) -> None:
    assert inspect.signature(endpoint).parameters[name].default is options_of(options)[name].default


@pytest.mark.parametrize("options", OPTIONS)
def test_the_options_of_every_endpoint_are_those_of_the_broker_and_more(options: type) -> None:
    assert issubclass(options, BrokerOptions)
    for name, each in options_of(BrokerOptions).items():
        assert options_of(options)[name] == each


@pytest.mark.parametrize("options", OPTIONS)
def test_every_field_is_documented_for_every_endpoint_that_has_it(options: type[BrokerOptions]) -> None:
    for name, each in options_of(options).items():
        assert re.search(r"\.\)?$", each.doc(options.role)), name


@pytest.mark.parametrize("options", OPTIONS)
def test_defaults_are_taken(options: Any) -> None:
    made = options(service_name="math")

    for name, each in options_of(options).items():
        if name not in ("service_name", "serializer"):
            assert getattr(made, name) == each.default


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("timeout", "10", "timeout must be a number of seconds, not '10'"),
        ("heartbeat", 0.5, "heartbeat is in whole seconds (AMQP's unit), not 0.5"),
        ("declare", "no", "declare must be a bool, not 'no'"),
        ("queue_type", "fast", "queue_type must be 'auto', 'classic' or 'quorum', not 'fast'"),
        ("queue_template", "queue", "queue_template 'queue' must contain {label}"),
    ],
)
def test_a_field_refuses_what_the_constructor_refuses_in_the_same_words(name: str, value: Any, text: str) -> None:
    for check in (
        lambda: options_of(ClientOptions)[name].check(name, value),
        lambda: ClientOptions(service_name="math", **{name: value}),
        lambda: AmqpRpcClient("math", **{name: value}),
        lambda: AmqpRpcClient.check_arguments("math", **{name: value}),
    ):
        with pytest.raises((TypeError, ValueError)) as caught:
            check()
        assert str(caught.value) == text


@pytest.mark.parametrize(
    ("options", "given", "text"),
    [
        (ClientOptions, {"broker_url": "amqp://a", "amqp_host": "b"}, "give either broker_url or amqp_host, not both"),
        (ClientOptions, {"broker_url": "amqp://u@a;amqp://v@b", "identify": True}, "needs the same user"),
        (DeadLetterOptions, {"broker_url": "amqp://u@a;amqp://v@b", "identify": True}, "needs the same user"),
        (ClientOptions, {"uuid": "u" * 250}, "client uuid is too long"),
        (ServerOptions, {"uuid": "u" * 250}, "server uuid is too long"),
    ],
)
def test_values_that_do_not_go_together_are_refused(options: Any, given: dict[str, Any], text: str) -> None:
    for name, value in given.items():
        options_of(options)[name].check(name, value)
    with pytest.raises(ValueError, match=text):
        options(service_name="math", **given)


@pytest.mark.parametrize("kind", [AmqpRpcClient, AmqpRpcServer, DeadLetters])
def test_switches_are_true_or_false_wherever_they_are_given(kind: Any) -> None:
    for name, each in options_of(kind._options_type).items():
        if each.is_switch:
            with pytest.raises(TypeError, match=f"{name} must be a bool, not 'no'"):
                kind.check_arguments("math", **{name: "no"})


def test_accept_is_a_list_of_serializers() -> None:
    with pytest.raises(TypeError, match="accept must be a list of serializers, not 'amphora"):
        AmqpRpcClient.check_arguments("math", accept="amphora.RpcJsonSerializer")


@pytest.mark.parametrize("endpoint", DOCUMENTED)
def test_a_docstring_has_the_documentation_of_the_fields(endpoint: type) -> None:
    assert section_of(endpoint) == arguments_of(endpoint), "`make options` writes it anew"
