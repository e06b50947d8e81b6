"""The helpers for the tests of Django projects: the tests of a project that uses them, in processes of their own."""

import shutil
from pathlib import Path

import pytest

from tests.contrib.django.manage import PROJECTS, run_python
from tests.support.consoles import entries
from tests.support.pages import Reading, blocks_of
from tests.support.postgres import USER, Postgres

FILES = {block.file: block.text for block in blocks_of("docs/django-testing.md") if block.file}

WITHOUT_PYTEST_DJANGO = """
import os

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tested.settings"
django.setup()
"""

A_TEST = """
from amphora.contrib.django import clients

def test_a_service_of_others_is_played(rpc):
    rpc.replace("charge", lambda amount: f"R-{amount}", alias="payments")

    assert clients["payments"].call.charge(7) == "R-7"
    assert str(rpc.calls[0]) == "payments: charge(7)"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project, with the files that the page on testing has."""
    directory = tmp_path / "project"
    shutil.copytree(PROJECTS / "tested", directory)
    for name, source in FILES.items():
        (directory / name).write_text(source)
    return directory


def test_the_page_has_a_whole_app(project: Path):
    assert FILES.keys() == {
        "orders/models.py",
        "orders/rpc.py",
        "orders/views.py",
        "orders/tests.py",
        "orders/test_pay.py",
        "pyproject.toml",
        "tested/settings_test.py",
    }


@pytest.mark.page("docs/django-testing.md", "An example")
def test_django_s_runner_runs_the_tests_of_the_page_and_more_with_sqlite(page: Reading, project: Path):
    (command,) = entries(page.take("console"))
    page.take_files()

    ran = run_python(project, *command.words[1:], "-v", "2")

    assert ran.returncode == 0, ran.stderr
    assert "test_pays_the_order (orders.tests.PayTests" in ran.stderr
    assert "probes.tests.SharedDataTests" in ran.stderr


def test_django_s_runner_runs_the_tests_of_the_page_and_more_with_postgresql(project: Path, postgres: Postgres):
    environment = {"POSTGRES_HOST": postgres.host, "POSTGRES_USER": USER, "POSTGRES_TEST_NAME": "test_of_helpers"}

    ran = run_python(project, "-m", "gevent.monkey", "manage.py", "test", env=environment)

    assert ran.returncode == 0, ran.stderr
    assert "skipped" not in ran.stderr
    # A handler's connection that was left open would have kept it.
    assert postgres.query("SELECT 1 FROM pg_database WHERE datname = 'test_of_helpers'") == []


@pytest.mark.page("docs/django-testing.md", "Patching")
def test_pytest_django_runs_them_too(page: Reading, project: Path):
    assert page.take_files().keys() == {"pyproject.toml", "orders/test_pay.py"}

    ran = run_python(project, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-o", "python_files=tests.py test_*.py")

    assert ran.returncode == 0, ran.stdout
    assert "orders/test_pay.py::test_pays_the_order PASSED" in ran.stdout
    assert "probes/tests.py::CommittingTests" in ran.stdout


def test_pytest_alone_has_the_fixture_too(project: Path):
    (project / "conftest.py").write_text(WITHOUT_PYTEST_DJANGO)
    (project / "test_alone.py").write_text(A_TEST)

    environment = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ran = run_python(project, "-m", "pytest", "-p", "no:cacheprovider", "test_alone.py", env=environment)

    assert ran.returncode == 0, ran.stdout


def test_tests_that_are_not_patched_say_how_they_are(project: Path):
    ran = run_python(project, "manage.py", "test", "orders")

    assert ran.returncode == 1
    assert "AMPHORA_PATCH_TEST = True" in ran.stderr
    assert "-p amphora.contrib.django.pytest_plugin" in ran.stderr
