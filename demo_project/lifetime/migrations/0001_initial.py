import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Callback",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("visit", models.UUIDField(db_index=True)),
                ("name", models.CharField(max_length=20)),
                ("time", models.DateTimeField(default=django.utils.timezone.now)),
                ("connection_id", models.CharField(db_index=True, max_length=64)),
                ("process", models.PositiveBigIntegerField(verbose_name="process id")),
                ("transport", models.CharField(blank=True, max_length=32)),
                ("reason", models.CharField(blank=True, max_length=32)),
                ("stop_called", models.BooleanField(blank=True, null=True)),
            ],
        ),
    ]
