"""Row-level security for rules; a published version of them never changes, and is seen by the next request."""

from django.db import migrations

from lib.rls import tenant_policy

FROZEN = """
CREATE FUNCTION policy_ruleset_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(NEW) - 'published_by_id' IS DISTINCT FROM to_jsonb(OLD) - 'published_by_id' THEN
        RAISE EXCEPTION 'published rules never change; publish new ones' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER policy_ruleset_frozen BEFORE UPDATE ON policy_ruleset
    FOR EACH ROW EXECUTE FUNCTION policy_ruleset_frozen();
CREATE TRIGGER policy_ruleset_bump AFTER INSERT OR DELETE ON policy_ruleset
    FOR EACH ROW EXECUTE FUNCTION tenants_bump();
"""
MELT = """
DROP TRIGGER policy_ruleset_bump ON policy_ruleset;
DROP TRIGGER policy_ruleset_frozen ON policy_ruleset;
DROP FUNCTION policy_ruleset_frozen();
"""


class Migration(migrations.Migration):
    dependencies = [("policy", "0003_rules"), ("tenants", "0002_policies")]
    operations = [
        tenant_policy("policy_rule"),
        tenant_policy("policy_draft"),
        tenant_policy("policy_ruleset"),
        tenant_policy("policy_accessrequest"),
        migrations.RunSQL(FROZEN, MELT),
    ]
