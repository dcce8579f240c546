"""User names that differ in more than capitals. Stops at two that do not: rename one of them, then migrate again."""

from django.db import migrations, models
from django.db.models.functions import Lower


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0003_invitations"),
    ]

    operations = [
        migrations.AddConstraint(
            model_name="user",
            constraint=models.UniqueConstraint(
                Lower("username"),
                name="one_user_name",
                violation_error_message=(
                    "Somebody has this user name already; capitals make no difference. Choose another."
                ),
            ),
        ),
    ]
