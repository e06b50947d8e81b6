"""The table of the failed calls, and the permissions of the services' page."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """As `makemigrations` writes it."""

    initial = True

    operations = [
        migrations.CreateModel(
            name="Service",
            fields=[
                ("alias", models.CharField(max_length=255, primary_key=True, serialize=False, verbose_name="alias")),
            ],
            options={
                "verbose_name": "RPC service",
                "verbose_name_plural": "RPC services",
                "permissions": (("call_service", "Can call functions of RPC services"),),
                "managed": False,
                "default_permissions": ("view",),
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="FailedCall",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("time", models.DateTimeField(db_index=True, verbose_name="time")),
                ("alias", models.CharField(max_length=255, verbose_name="alias")),
                ("service", models.CharField(max_length=255, verbose_name="service")),
                ("function", models.CharField(max_length=255, verbose_name="function")),
                ("error_type", models.CharField(max_length=255, verbose_name="error")),
                ("message", models.TextField(blank=True, verbose_name="message")),
                ("traceback", models.TextField(blank=True, verbose_name="traceback")),
                ("server_host", models.CharField(max_length=255, verbose_name="host")),
                ("server_pid", models.PositiveBigIntegerField(verbose_name="process")),
                ("server_uuid", models.CharField(max_length=255, verbose_name="server")),
                ("request_id", models.CharField(blank=True, max_length=255, verbose_name="request id")),
            ],
            options={
                "verbose_name": "failed call",
                "verbose_name_plural": "failed calls",
                "ordering": ("-time", "-id"),
                "default_permissions": ("view", "delete"),
                "indexes": [models.Index(fields=["service", "-id"], name="amphora_failed_service")],
            },
        ),
    ]
