"""The Celery application of the project."""

import os

from celery import Celery

from amphora.contrib.celery import Amphora

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "store.settings")

app = Celery("store", set_as_current=True)
app.config_from_object("django.conf:settings", namespace="CELERY")
Amphora(app)
app.autodiscover_tasks()
