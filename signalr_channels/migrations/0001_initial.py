import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import signalr_channels.models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ServerProcess",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=255, unique=True, verbose_name="name")),
                ("host", models.CharField(blank=True, max_length=255, verbose_name="host")),
                ("pid", models.PositiveBigIntegerField(default=0, verbose_name="process id")),
                ("started_at", models.DateTimeField(verbose_name="started")),
                ("last_seen_at", models.DateTimeField(verbose_name="last seen")),
                ("stopped_at", models.DateTimeField(blank=True, null=True, verbose_name="stopped")),
                ("dropped_events", models.PositiveBigIntegerField(default=0, verbose_name="dropped events")),
            ],
            options={
                "verbose_name": "server process",
                "verbose_name_plural": "server processes",
                "default_permissions": ("view",),
                "indexes": [models.Index(fields=["stopped_at", "last_seen_at"], name="signalr_process_seen")],
            },
        ),
        migrations.CreateModel(
            name="Connection",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("connection_id", models.CharField(max_length=64, unique=True, verbose_name="connection id")),
                ("hub", models.CharField(max_length=255, verbose_name="hub")),
                ("path", models.CharField(blank=True, max_length=255, verbose_name="path")),
                ("user_identifier", models.CharField(blank=True, db_index=True, max_length=255, verbose_name="user identifier")),
                ("transport", models.CharField(blank=True, max_length=32, verbose_name="transport")),
                ("hub_protocol", models.CharField(blank=True, max_length=32, verbose_name="hub protocol")),
                ("remote_address", models.CharField(blank=True, db_index=True, max_length=128, verbose_name="remote address")),
                ("user_agent", models.CharField(blank=True, max_length=256, verbose_name="user agent")),
                ("origin", models.CharField(blank=True, max_length=256, verbose_name="origin")),
                ("opened_at", models.DateTimeField(verbose_name="opened")),
                ("last_seen_at", models.DateTimeField(verbose_name="last seen")),
                ("closed_at", models.DateTimeField(blank=True, db_index=True, null=True, verbose_name="closed")),
                ("close_reason", models.CharField(blank=True, max_length=32, verbose_name="reason")),
                ("close_detail", models.CharField(blank=True, max_length=500, verbose_name="detail")),
                ("stop_called", models.BooleanField(blank=True, null=True, verbose_name="ended by the client on purpose")),
                ("allows_reconnect", models.BooleanField(blank=True, null=True, verbose_name="was told that it may come back")),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=signalr_channels.models.forget_user,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
                (
                    "process",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="connections",
                        to="signalr_channels.serverprocess",
                        verbose_name="server process",
                    ),
                ),
            ],
            options={
                "verbose_name": "connection",
                "verbose_name_plural": "connections",
                "default_permissions": ("view", "delete"),
                "permissions": (("disconnect_connection", "Can disconnect connection"),),
                "indexes": [
                    models.Index(fields=["process", "closed_at"], name="signalr_connection_process"),
                    models.Index(fields=["hub", "id"], name="signalr_connection_hub"),
                    models.Index(fields=["transport", "id"], name="signalr_connection_transport"),
                    models.Index(fields=["close_reason", "id"], name="signalr_connection_reason"),
                ],
            },
        ),
        migrations.CreateModel(
            name="LifetimeEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("event_id", models.CharField(max_length=64, unique=True, verbose_name="event id")),
                ("kind", models.CharField(max_length=16, verbose_name="kind")),
                ("time", models.DateTimeField(db_index=True, verbose_name="time")),
                ("hub", models.CharField(blank=True, max_length=255, verbose_name="hub")),
                ("path", models.CharField(blank=True, max_length=255, verbose_name="path")),
                ("transport", models.CharField(blank=True, max_length=32, verbose_name="transport")),
                ("reason", models.CharField(blank=True, max_length=32, verbose_name="reason")),
                ("detail", models.CharField(blank=True, max_length=500, verbose_name="detail")),
                ("process", models.CharField(blank=True, max_length=255, verbose_name="server process")),
                ("user_identifier", models.CharField(blank=True, db_index=True, max_length=255, verbose_name="user identifier")),
                ("remote_address", models.CharField(blank=True, db_index=True, max_length=128, verbose_name="remote address")),
                ("user_agent", models.CharField(blank=True, max_length=256, verbose_name="user agent")),
                ("origin", models.CharField(blank=True, max_length=256, verbose_name="origin")),
                (
                    "connection",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="lifetime_events",
                        to="signalr_channels.connection",
                        to_field="connection_id",
                        verbose_name="connection",
                    ),
                ),
            ],
            options={
                "verbose_name": "lifetime event",
                "verbose_name_plural": "lifetime events",
                "default_permissions": ("view", "delete"),
                "indexes": [
                    models.Index(fields=["kind", "id"], name="signalr_event_kind"),
                    models.Index(fields=["reason", "id"], name="signalr_event_reason"),
                    models.Index(fields=["hub", "id"], name="signalr_event_hub"),
                    models.Index(fields=["transport", "id"], name="signalr_event_transport"),
                ],
            },
        ),
    ]
