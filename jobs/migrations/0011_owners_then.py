"""Who may release a held call without a reviewer: the owners as they were when it was held."""

import django.contrib.postgres.fields
from django.db import migrations, models

from lib.rls import definer

_OWNERS = """
    SELECT m.id FROM tenants_member m JOIN tenants_user u ON u.id = m.user_id AND u.is_active
    WHERE m.tenant_id = {tenant} AND m.role = 'owner' AND m.active
"""
# Whoever writes the row, an older process of the hub as well.
OWNED = f"""
BEGIN
    NEW.owners := ARRAY({_OWNERS.format(tenant="NEW.tenant_id")});
    RETURN NEW;
END
"""
WATCHED = "CREATE TRIGGER owned BEFORE INSERT ON jobs_approval FOR EACH ROW EXECUTE FUNCTION jobs_owned();"
# Who was an owner when these were held is not known any more: it is whoever is one now, who could release them so far.
HELD = f"UPDATE jobs_approval a SET owners = ARRAY({_OWNERS.format(tenant='a.tenant_id')});"  # noqa: S608 - of constants


class Migration(migrations.Migration):
    dependencies = [("jobs", "0010_requests_told")]
    operations = [
        migrations.AddField(
            model_name="approval",
            name="owners",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.BigIntegerField(), blank=True, default=list, size=None
            ),
        ),
        definer("jobs_owned()", "trigger", OWNED, language="plpgsql"),
        migrations.RunSQL(WATCHED, "DROP TRIGGER owned ON jobs_approval;"),
        migrations.RunSQL(HELD, migrations.RunSQL.noop),
    ]
