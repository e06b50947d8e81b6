"""Settings of the chat; BROKER_URL, CHAT_DATABASE and CHAT_SECRET_KEY may come from the environment."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).parents[1]
BROKER_URL = os.environ.get("BROKER_URL") or "amqp://guest:guest@127.0.0.1:5672//"

AMPHORA = {
    # The core: web processes call it, and `manage.py runserver_rpc default` serves it.
    "default": {"SERVICE_NAME": "chat", "BROKER_URL": BROKER_URL, "TIMEOUT": 10},
    # What the users see: the core calls it, and each web process serves the screens whose polls it holds.
    "screens": {
        "SERVICE_NAME": "chat_screens",
        "BROKER_URL": BROKER_URL,
        "QUEUE_TEMPLATE": "rpc_{namespace}_queue_{label}",
    },
}

INSTALLED_APPS = ["django.contrib.staticfiles", "amphora.contrib.django", "core", "web"]

# Of the core alone. Its handlers write one at a time: a transaction that begins IMMEDIATE waits for the one before it.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("CHAT_DATABASE", BASE_DIR / "db.sqlite3"),
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# A name is all that a session holds: it fits into a cookie, which every web process can read.
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]
ROOT_URLCONF = "chat.urls"
WSGI_APPLICATION = "chat.wsgi.application"
STATIC_URL = "static/"

DEBUG = False
# The demonstration is for the machine that it runs on.
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
SECRET_KEY = os.environ.get("CHAT_SECRET_KEY", "not a secret: give CHAT_SECRET_KEY wherever others can reach the chat")
USE_TZ = True
TIME_ZONE = "UTC"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {"django.request": {"level": "ERROR"}, "web": {"level": "INFO"}},
}
