import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("chat", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="presence",
            name="is_classic",
            field=models.BooleanField(default=False, verbose_name="classic client"),
        ),
        migrations.AddField(
            model_name="presence",
            name="seen_at",
            field=models.DateTimeField(auto_now=True, default=django.utils.timezone.now),
            preserve_default=False,
        ),
    ]
