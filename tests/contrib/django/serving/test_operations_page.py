"""docs/django-operations.md: its Python runs, and it names every argument of the command and every logger."""

import json
import logging.config
import shlex
import shutil

import pytest
from django.core.management import load_command_class
from django.core.management.base import BaseCommand
from django.db import transaction

from amphora import AmqpRpcClient
from amphora.contrib.django import servers
from amphora.contrib.django.options import own_settings
from amphora.contrib.django.request_log import logger
from amphora.contrib.django.signals import request_finished
from tests.contrib.django.manage import PROJECTS
from tests.documentation.reader import parse
from tests.support.consoles import assert_contains_lines, entries
from tests.support.fragments import run_fragments
from tests.support.processes import ROOT

PAGE = (ROOT / "docs" / "django-operations.md").read_text()
#: The project that the page serves, but for where its broker is.
FUNCTIONS = """
from amphora.contrib.django import server

@server.add_function("orders.total")
def total(order_id): ...

@server.add_function("orders.cancel")
def cancel(order_id, *, reason=""): ...
"""
DEPOT = PROJECTS / "depot"


@pytest.mark.page("docs/django-operations.md", "The command")
def test_its_command_prints_what_it_shows_and_its_logging_is_django_s(
    page, broker, unique_name, start_program, tmp_path
):
    (entry,) = entries(page.take("console"))
    vhost = unique_name("shop")
    broker.add_vhost(vhost)
    url = broker.url_for(vhost=vhost)
    shutil.copytree(DEPOT, tmp_path / "project")
    (tmp_path / "project" / "stock" / "rpc.py").write_text(FUNCTIONS)
    service = {"SERVICE_NAME": "shop", "BROKER_URL": url, "QUEUES": ["vip"], "CONCURRENCY": 50}
    with AmqpRpcClient("shop", broker_url=url, timeout=60) as client:
        client.create_new_request_queue("vip")
    _, manage, command = entry.words

    program = start_program(
        tmp_path / "project" / manage, command, env={"DEPOT_AMPHORA": json.dumps({"default": service})}
    )
    program.wait_for_line("taking requests", 60)

    here = {
        url.replace(":guest@", "@"): "amqp://shop@rabbitmq.example.com:5672/shop",
        "depot.settings": "shop.settings",
    }
    assert_contains_lines(entry, program.output, here)
    logging_settings = {}
    run_fragments([page.take_one("python")], logging_settings)
    assert logger.name in logging_settings["LOGGING"]["loggers"]
    # Checked as `dictConfig` would; not applied to the loggers of this process.
    assert logging.config.DictConfigurator(logging_settings["LOGGING"]).config["version"] == 1


@pytest.mark.page("docs/django-operations.md", "Stopping")
def test_its_units_and_containers_run_the_command_and_give_it_time(page):
    unit = parse(page.take_one("ini"))["Service"]
    pod = parse(page.take_one("yaml"))["spec"]

    (container,) = pod["containers"]
    assert shlex.split(unit["ExecStart"])[1:] == container["command"][1:] == ["manage.py", "runserver_rpc"]
    # The grace period, and what disconnecting may take.
    wanted = own_settings()["GRACE"].default + 10
    assert float(unit["TimeoutStopSec"]) >= wanted
    assert pod["terminationGracePeriodSeconds"] >= wanted


@pytest.mark.page("docs/django-operations.md", "Database connections")
def test_its_functions_and_receivers_are_registered(page, start_service):
    names = {"server": start_service().server, "transaction": transaction}

    run_fragments(page.take("python"), names)

    assert names["server"].functions["import_catalogue"]._non_atomic_requests == {"default"}
    assert request_finished.disconnect(names["count"], sender=servers["billing"])


def test_it_explains_every_argument_of_the_command():
    parser = load_command_class("amphora.contrib.django", "runserver_rpc").create_parser("manage.py", "runserver_rpc")
    of_django = {option for action in _parser_of_django()._actions for option in action.option_strings}
    own = {action.option_strings[-1] for action in parser._actions if action.option_strings} - of_django

    assert own == {"--concurrency", "--broker", "--queue", "--grace", "--noreload"}
    assert [option for option in own if f"| `{option}" not in PAGE] == []


def _parser_of_django():
    return BaseCommand().create_parser("manage.py", "x")
