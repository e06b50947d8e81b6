"""Releases of Django that have no tasks."""

import django
import pytest

from amphora.contrib.django import tasks

pytestmark = pytest.mark.skipif(django.VERSION >= (6, 0), reason="Django has tasks since 6.0")


def test_the_backend_says_which_release_it_is_for():
    with pytest.raises(ImportError, match=r"came with Django 6\.0, and this is 5\."):
        _ = tasks.AmphoraBackend


def test_the_module_can_be_imported_all_the_same():
    # Celery imports `tasks` of every installed app.
    assert not tasks.has_tasks()
