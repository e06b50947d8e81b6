"""Settings of the project; the environment says whether its database is one of PostgreSQL."""

import os

SECRET_KEY = "not a secret: a project of the tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "tested.urls"
STATIC_URL = "static/"
MEDIA_URL = "media/"
INSTALLED_APPS = ["amphora.contrib.django", "orders", "probes"]

DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "never-made.sqlite3"}}
if "POSTGRES_HOST" in os.environ:
    DATABASES["default"] = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ["POSTGRES_HOST"],
        "USER": os.environ["POSTGRES_USER"],
        "NAME": "postgres",
        "TEST": {"NAME": os.environ["POSTGRES_TEST_NAME"]},
        "CONN_MAX_AGE": 60,
    }

# Nobody listens there: a test that asked a broker would fail.
AMPHORA = {
    "default": {"SERVICE_NAME": "orders", "BROKER_URL": "amqp://127.0.0.1:1//", "TIMEOUT": 30},
    "atomic": {
        "SERVICE_NAME": "atomic",
        "AMQP_HOST": "127.0.0.1",
        "AMQP_PORT": 1,
        "ATOMIC_REQUESTS": True,
        "CONCURRENCY": 1,
    },
    "payments": {"SERVICE_NAME": "payments", "BROKER_URL": "amqp://127.0.0.1:1//", "TIMEOUT": 30},
}
