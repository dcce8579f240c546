"""What hooks are signed with is taken out of results, so the tenant's tools are made ready anew when it changes."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("jobs", "0008_confirmations")]
    operations = [
        migrations.RunSQL(
            "CREATE TRIGGER jobs_hook_bump AFTER INSERT OR UPDATE OF secret OR DELETE ON jobs_hook"
            " FOR EACH ROW EXECUTE FUNCTION tenants_bump();",
            "DROP TRIGGER jobs_hook_bump ON jobs_hook;",
        )
    ]
