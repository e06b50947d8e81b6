"""Settings of the sample project; the environment says where its broker and its database are."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).parents[1]
SECRET_KEY = "not a secret: the sample project of the tests"
DEBUG = os.environ.get("SHOP_DEBUG") == "1"
AMPHORA_PATCH_RUNSERVER = os.environ.get("SHOP_PATCH_RUNSERVER", "1") == "1"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "amphora.contrib.django",
    "orders",
    "billing",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SHOP_DATABASE", BASE_DIR / "db.sqlite3"),
    }
}

_BROKER_URL = os.environ.get("SHOP_BROKER_URL", "memory://")
_SUFFIX = os.environ.get("SHOP_SUFFIX", "")
AMPHORA = {
    "default": {
        "SERVICE_NAME": f"django_shop{_SUFFIX}",
        "BROKER_URL": _BROKER_URL,
        "TIMEOUT": 30,
        "THREADED": "SHOP_THREADED" in os.environ,
    },
    "billing": {"SERVICE_NAME": f"django_billing{_SUFFIX}", "BROKER_URL": _BROKER_URL, "TIMEOUT": 30},
}
