"""Settings of the project; the environment says where its broker is."""

import os

BASE_DIR = os.environ.get("STORE_DIRECTORY", ".")
SECRET_KEY = "not a secret: a sample project of the tests"
USE_TZ = True
ROOT_URLCONF = "store.urls"
ALLOWED_HOSTS = ["127.0.0.1"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "amphora.contrib.django", "stock"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{BASE_DIR}/db.sqlite3"}}

BROKER_URL = os.environ.get("STORE_BROKER", "memory://")
SERVICE = os.environ.get("STORE_SERVICE", "store")

AMPHORA = {
    "default": {"SERVICE_NAME": SERVICE, "BROKER_URL": BROKER_URL, "TIMEOUT": 60},
    "news": {"SERVICE_NAME": f"{SERVICE}_fanout", "FANOUT": True, "BROKER_URL": BROKER_URL},
}

CELERY_BROKER_URL = BROKER_URL
CELERY_RESULT_BACKEND = "rpc://"
CELERY_TASK_DEFAULT_QUEUE = SERVICE
CELERY_AMPHORA_SERVICE_NAME = SERVICE
# Whoever prints labels has a worker of another kind.
CELERY_TASK_ROUTES = {"stock.tasks.label": {"queue": f"{SERVICE}_labels"}}
