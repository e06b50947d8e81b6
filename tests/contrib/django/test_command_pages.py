"""docs/django-commands.md and docs/django-admin.md: the commands print what they show, and the settings are good."""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import override_settings

import amphora.contrib.django.conf as conf
from amphora import AmqpRpcServer
from tests.contrib.django.manage import PROJECTS, run_python
from tests.support.broker import Broker
from tests.support.consoles import entries
from tests.support.fragments import run_fragments
from tests.support.pages import Reading


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project of the page: the sample project, whose services have shorter names there."""
    directory = tmp_path / "project"
    shutil.copytree(PROJECTS / "shop", directory)
    settings = directory / "shop" / "settings.py"
    settings.write_text(settings.read_text().replace('f"django_', 'f"'))
    return directory


@pytest.mark.page("docs/django-commands.md")
def test_its_commands_print_what_it_shows(
    page: Reading, project: Path, broker: Broker, unique_name: Callable[[str], str]
):
    vhost = unique_name("shop")
    broker.add_vhost(vhost)
    url = broker.url_for(vhost=vhost)
    with AmqpRpcServer("shop", broker_url=url) as server:
        server.add_function(lambda order_id: {"order": order_id, "total": order_id * 10}, "orders.total")
        server.add_function(_fail, "orders.fail")

        for entry in entries(page.take("console")):
            # A busy machine takes longer than that.
            words = entry.command.replace("--timeout 5", "--timeout 60")
            ran = run_python(project, *shlex.split(words)[1:], env={"COLUMNS": "100", "SHOP_BROKER_URL": url})

            assert ran.stdout + ran.stderr == entry.output, str(entry)
            assert ran.returncode == ("orders.fail" in entry.words), str(entry)


def _fail(text: str):
    raise ValueError(text)


@pytest.mark.page("docs/django-admin.md")
def test_the_settings_for_errors_that_are_kept_are_good(page: Reading):
    names = {}

    run_fragments([page.take_one("python")], names)

    with override_settings(AMPHORA=names["AMPHORA"]):
        assert conf.service("default").record_errors == 100
