"""docs/operations.md and docs/upgrading.md: what an operator is told to configure and to type."""

import configparser
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from amphora.cli.program import amphora
from tests.conftest import StartBroker
from tests.documentation.reader import parse
from tests.support.broker import Broker
from tests.support.consoles import Entry, entries
from tests.support.pages import Reading
from tests.support.processes import ROOT


@pytest.mark.page("docs/operations.md")
def test_the_broker_takes_its_settings_and_programs_theirs(
    page: Reading, start_broker: StartBroker, tmp_path: Path
) -> None:
    settings = parse(page.take_one("ini", containing="consumer_timeout"))
    unit = page.take_one("ini", containing="[Service]").text
    prometheus = parse(page.take_one("yaml"))
    broker = start_broker(settings)

    for entry in entries(page.take("console")):
        run_ctl(broker, entry, tmp_path)

    assert broker.eval("element(2, application:get_env(rabbit, consumer_timeout))") == 7_200_000
    assert (tmp_path / "rabbitmq.json").exists()
    [rules] = prometheus["rule_files"]
    assert (ROOT / "dashboards" / rules).exists()
    seconds, options = stop_of(unit)
    assert options["grace"] < seconds


@pytest.mark.page("docs/upgrading.md")
def test_the_queues_that_0_1_3_leaves_behind_are_found_and_deleted(
    page: Reading, broker: Broker, tmp_path: Path
) -> None:
    left = "rpc_orders_shop_response", "rpc_announcements_request"
    with broker.channel() as channel:
        for queue in left:
            channel.queue_declare(queue, durable=True, auto_delete=False)

    printed = [run_ctl(broker, entry, tmp_path) for entry in entries(page.take("console"))]

    assert any(left[1] in each for each in printed)
    assert not broker.queues().keys() & set(left)


def run_ctl(broker: Broker, entry: Entry, directory: Path) -> str:
    """Run a `rabbitmqctl` command of a page, with files in a directory of the test's."""
    name, *words = entry.words
    assert name == "rabbitmqctl", str(entry)
    return broker.ctl(*(word.replace("/var/backups", str(directory)) for word in words))


def stop_of(unit: str) -> tuple[int, dict[str, Any]]:
    """Return how long systemd waits for the unit's end, and the options that `amphora serve` reads in its command."""
    read = configparser.ConfigParser(interpolation=None)
    read.optionxform = str  # type: ignore[method-assign,assignment]
    read.read_string(unit)
    service = dict(read["Service"])
    program, command, *words = shlex.split(service["ExecStart"])
    assert (Path(program).name, command) == ("amphora", "serve")
    serve = amphora.get_command(click.Context(amphora), command)
    assert serve is not None
    return int(service["TimeoutStopSec"]), serve.make_context(command, words).params
