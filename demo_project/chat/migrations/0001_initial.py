from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Presence",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("connection_id", models.CharField(max_length=64)),
                ("room", models.CharField(db_index=True, max_length=30)),
                ("name", models.CharField(max_length=150)),
                ("is_user", models.BooleanField(default=False, verbose_name="logged in")),
                ("since", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "verbose_name_plural": "presence",
                "constraints": [models.UniqueConstraint(fields=("connection_id", "room"), name="once_in_a_room")],
            },
        ),
    ]
