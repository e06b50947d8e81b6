"""Makes the sample project's database and a user for the admin, and serves its handlers with `runserver_rpc`."""

from gevent import monkey

monkey.patch_all()

import os

import django
from django.core.management import call_command

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "workshop_settings")
django.setup()

from django.contrib.auth.models import User

call_command("migrate", verbosity=0)
User.objects.create_superuser("keeper", "keeper@example.org", "well kept")
call_command("runserver_rpc", "--noreload")
