"""Settings of the project; the environment says where its broker and its results are."""

import os

SECRET_KEY = "not a secret: a project of the tests"
USE_TZ = True
INSTALLED_APPS = ["amphora.contrib.django", "jobs"]
AMPHORA = {
    "default": {
        "SERVICE_NAME": os.environ.get("TASKED_SERVICE", "tasked"),
        "BROKER_URL": os.environ.get("TASKED_BROKER_URL", "memory://"),
        "TIMEOUT": 60,
    },
}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": os.environ.get("TASKED_RESULTS", "results"),
    },
}
TASKS = {
    "default": {
        "BACKEND": "amphora.contrib.django.tasks.AmphoraBackend",
        "OPTIONS": {"RESULT_CACHE": "default"},
    },
}
