"""`manage.py rpc_functions`."""

import json
import signal
import socket

import pytest
from django.core.management import CommandError, call_command

from amphora.contrib.django.endpoints import servers
from amphora.contrib.django.management.commands.rpc_functions import table_lines
from tests.contrib.django.manage import manage


def test_the_table_has_a_line_for_each_function_of_each_alias():
    listed = manage("shop", "rpc_functions")

    assert listed.returncode == 0, listed.stderr
    assert "default (service 'django_shop')" in listed.stdout
    assert "billing (service 'django_billing')" in listed.stdout
    lines = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
    assert ["add", "(x,", "y)      Add two numbers.                    orders.rpc"] in lines
    assert ["invoices.number", "(order_id)", "Return the number of an order's invoice.  billing.rpc"] in lines


def test_nothing_is_connected(capsys):
    call_command("rpc_functions", "billing")

    assert "invoices.number" in capsys.readouterr().out
    assert not servers["billing"].made


def test_json_has_an_object_for_each_function(capsys):
    call_command("rpc_functions", "default", "--json")

    functions = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert functions["orders.total"] == {
        "alias": "default",
        "service": "django_shop",
        "name": "orders.total",
        "signature": "(order_id)",
        "summary": "Return the total of an order.",
        "docstring": "Return the total of an order.",
        "module": "orders.rpc",
    }


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_reader_that_has_ended_is_no_error(options):
    reading, writing = socket.socketpair()
    with reading, writing:
        reading.shutdown(socket.SHUT_RD)
        listed = manage("shop", "rpc_functions", *options, stdout=writing.fileno())

    assert (listed.returncode, listed.stderr) == (128 + signal.SIGPIPE, "")


def test_an_alias_that_is_not_there_is_an_error():
    with pytest.raises(CommandError, match=r"no alias 'biling'.*'billing'") as error:
        call_command("rpc_functions", "biling")

    assert error.value.returncode == 2


def test_a_table_fits_the_terminal():
    rows = [("NAME", "SIGNATURE", "DESCRIPTION", "MODULE"), ("f", "(x)", "Tell a very long story.", "m")]

    assert table_lines(rows, width=40) == [
        "  NAME  SIGNATURE  DESCRIPTION    MODULE",
        "  f     (x)        Tell a very …  m",
    ]
    assert table_lines(rows, width=None)[1] == "  f     (x)        Tell a very long story.  m"
    assert table_lines(rows, width=10)[1] == "  f     (x)        Tell a ver…  m"
