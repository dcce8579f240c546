"""Hooks are told of requests for access too: a delivery is about one of these or about a job."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0009_hooks_known"), ("policy", "0006_first_limits")]
    operations = [
        migrations.AlterField(
            model_name="delivery",
            name="job",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="jobs.job"
            ),
        ),
        migrations.AddField(
            model_name="delivery",
            name="request",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="policy.accessrequest"
            ),
        ),
        migrations.AddField(model_name="delivery", name="version", field=models.PositiveIntegerField(null=True)),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(job__isnull=False, request__isnull=True),
                    models.Q(job__isnull=True, request__isnull=False, version__isnull=False),
                    _connector="OR",
                ),
                name="delivery_is_about_one_thing",
            ),
        ),
    ]
