"""Settings of the project; those that tests vary come from the environment."""

import json
import os

# Before anything patches, as a project's settings often do.
import psycopg  # noqa: F401

SECRET_KEY = "not a secret: a project of the tests"
DEBUG = "DEPOT_DEBUG" in os.environ
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "amphora.contrib.django", "stock"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AMPHORA = json.loads(
    os.environ.get("DEPOT_AMPHORA", '{"default": {"SERVICE_NAME": "depot", "BROKER_URL": "memory://"}}')
)
