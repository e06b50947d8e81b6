"""The tables of settings in the documentation are those of the options' fields: `make options` writes them anew."""

import pytest

from amphora.contrib.celery.conf import DEFAULTS
from amphora.contrib.django.options import known_settings
from tests.support.option_tables import TABLES, Table


@pytest.mark.parametrize("table", TABLES, ids=repr)
def test_a_table_is_that_of_the_fields(table: Table) -> None:
    assert table.found() == table.made()


@pytest.mark.parametrize(
    ("page", "settings"),
    [
        ("django-settings.md", list(known_settings())),
        ("celery-settings.md", [f"amphora_{name}" for name in DEFAULTS]),
    ],
)
def test_every_setting_is_in_one_table_of_its_page(page: str, settings: list[str]) -> None:
    rows = "".join(table.made() for table in TABLES if table.page.name == page)

    assert [name for name in settings if rows.count(f"\n| `{name}` |") != 1] == []
