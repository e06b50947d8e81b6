"""Makes the sample project's database and a user for the admin, and serves its handlers until it is ended."""

from gevent import monkey

monkey.patch_all()

import os

import django
from gevent.event import Event

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "depot_settings")
django.setup()

from django.contrib.auth.models import User
from django.core.management import call_command

from amphora.contrib.django import servers

call_command("migrate", verbosity=0)
User.objects.create_superuser("keeper", "keeper@example.org", "well kept")
for server in servers.all():
    server.serve()
    server.wait_connected(60)
print("serving", flush=True)
Event().wait()
