"""Settings of the program; the environment says where its database is."""

import os

SECRET_KEY = "not a secret: a sample project of the tests"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ["SHELF_DATABASE"],
        "USER": os.environ["SHELF_USER"],
        "HOST": os.environ["SHELF_HOST"],
        "CONN_MAX_AGE": float(os.environ["SHELF_MAX_AGE"]),
    }
}
