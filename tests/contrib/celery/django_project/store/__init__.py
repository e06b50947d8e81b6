"""The project, whose Celery application is loaded with Django, as Celery's documentation has it."""

from store.celery import app as celery_app

__all__ = ["celery_app"]
