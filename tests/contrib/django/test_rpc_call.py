"""`manage.py rpc_call`."""

import json

import gevent
import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from amphora import AmqpRpcServer
from tests.contrib.django.manage import manage
from tests.support.broker import Broker
from tests.support.eventually import wait_until


def call(capsys, *arguments):
    call_command("rpc_call", *arguments)
    return json.loads(capsys.readouterr().out)


def test_a_program_that_is_not_patched_calls_over_rabbitmq(broker: Broker, service: str):
    environment = {"SHOP_BROKER_URL": broker.url, "SHOP_SUFFIX": service}
    with AmqpRpcServer(f"django_shop{service}", broker_url=broker.url) as server:
        server.add_function(lambda *args, **kwargs: [args, kwargs], "echo")
        server.add_function(lambda text: int(text), "fail")

        echoed = manage("shop", "rpc_call", "echo", "1", '"2"', "O-3", "--kw", "grüße=[4]", env=environment)
        failed = manage("shop", "rpc_call", "fail", "none", env=environment)

    assert (echoed.returncode, echoed.stderr) == (0, "")
    assert echoed.stdout == '[[1, "2", "O-3"], {"grüße": [4]}]\n'
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == "RemoteError: ValueError: invalid literal for int() with base 10: 'none'\n"


def test_text_of_the_server_cannot_control_the_terminal(broker: Broker, service: str):
    environment = {"SHOP_BROKER_URL": broker.url, "SHOP_SUFFIX": service}
    with AmqpRpcServer(f"django_shop{service}", broker_url=broker.url) as server:
        server.add_function(lambda: "a\x9b2J\u202eb", "answer")
        server.add_function(lambda: {}["\x1b[2J"], "fail")

        answered = manage("shop", "rpc_call", "answer", env=environment)
        failed = manage("shop", "rpc_call", "fail", env=environment)

    assert answered.stdout == '"a\\u009b2J\\u202eb"\n'
    assert "\x1b" not in failed.stderr
    assert "x1b[2J" in failed.stderr


def test_on_memory_the_project_s_own_handlers_are_called(capsys):
    assert call(capsys, "add", "-1", "3") == 2
    assert call(capsys, "add", "1", "--kw", "y=2", "--timeout", "30") == 3
    assert call(capsys, "invoices.number", "7", "--alias", "billing") == "INV-00007"


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["orders.fail", "no such order"], 1, "ValueError: no such order"),
        (["nope"], 1, "No function nope defined"),
        (["add", "1", "--kw", "y"], 2, "written NAME=VALUE"),
        (["add", "--alias", "biling"], 2, "no alias 'biling'"),
        (["add", "1", "2", "--routing-key", "nobody"], 4, "routing key 'nobody'"),
    ],
)
@pytest.mark.expects_errors("ValueError")
def test_an_error_has_a_status_of_its_own(arguments, status, text):
    with pytest.raises(CommandError, match=text) as error:
        call_command("rpc_call", *arguments)

    assert error.value.returncode == status


def test_a_call_without_a_reply_ends_with_a_status_of_its_own(broker: Broker, service: str):
    amphora = {"default": {"SERVICE_NAME": service, "BROKER_URL": broker.url}}
    with override_settings(AMPHORA=amphora), AmqpRpcServer(service, broker_url=broker.url) as server:
        server.add_function(gevent.sleep, "sleep")

        with pytest.raises(CommandError, match="No result from 'sleep'") as error:
            call_command("rpc_call", "sleep", "60", "--timeout", "2")

    assert error.value.returncode == 3


def test_a_broker_that_is_not_there_is_told_of(caplog):
    amphora = {"default": {"SERVICE_NAME": "shop", "BROKER_URL": "amqp://me:secret@127.0.0.1:1//"}}
    with override_settings(AMPHORA=amphora), pytest.raises(CommandError) as error:
        call_command("rpc_call", "add", "1", "2", "--timeout", "0.1")

    assert error.value.returncode == 4
    assert str(error.value) == "amqp://me@127.0.0.1:1// is not reachable (waited for 0.1 s)"


def test_a_timeout_that_is_none_is_refused():
    with pytest.raises(CommandError, match="a number of seconds is wanted, not 'soon'"):
        call_command("rpc_call", "add", "1", "2", "--timeout=soon")


def test_a_cast_prints_nothing_and_runs(broker: Broker, service: str):
    environment = {"SHOP_BROKER_URL": broker.url, "SHOP_SUFFIX": service}
    runs: list[int] = []
    with AmqpRpcServer(f"django_shop{service}", broker_url=broker.url) as server:
        server.add_function(runs.append, "note")

        cast = manage("shop", "rpc_call", "note", "1", "--cast", env=environment)
        wait_until(lambda: runs == [1])

    assert (cast.returncode, cast.stdout, cast.stderr) == (0, "", "")
