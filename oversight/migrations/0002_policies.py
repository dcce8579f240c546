"""Row-level security for switches; those of no one tenant are seen by all who read any."""

from django.db import migrations

from lib.rls import shared_policy


class Migration(migrations.Migration):
    dependencies = [("oversight", "0001_switches")]
    operations = [shared_policy("oversight_switch")]
