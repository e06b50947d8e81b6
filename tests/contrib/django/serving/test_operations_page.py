"""docs/django-operations.md: its Python runs, and it names every argument of the command and every logger."""

import logging.config
import re

from django.core.management import load_command_class
from django.core.management.base import BaseCommand
from django.db import transaction

from amphora.contrib.django.request_log import logger
from tests.support.processes import ROOT

PAGE = (ROOT / "docs" / "django-operations.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_its_python_runs(start_service):
    names = {"server": start_service().server, "transaction": transaction}

    for block in BLOCKS:
        exec(block, names)

    assert names["server"].functions["import_catalogue"]._non_atomic_requests == {"default"}
    assert logger.name in names["LOGGING"]["loggers"]
    # Checked as `dictConfig` would; not applied to the loggers of this process.
    assert logging.config.DictConfigurator(names["LOGGING"]).config["version"] == 1


def test_it_explains_every_argument_of_the_command():
    parser = load_command_class("amphora.contrib.django", "runserver_rpc").create_parser("manage.py", "runserver_rpc")
    of_django = {option for action in _parser_of_django()._actions for option in action.option_strings}
    own = {action.option_strings[-1] for action in parser._actions if action.option_strings} - of_django

    assert own == {"--concurrency", "--broker", "--queue", "--grace", "--noreload"}
    assert [option for option in own if f"| `{option}" not in PAGE] == []


def _parser_of_django():
    return BaseCommand().create_parser("manage.py", "x")
