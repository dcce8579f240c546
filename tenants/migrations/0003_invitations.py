"""Invitations and which of a tenant's scopes a consent must hold; the cache that counts failed sign-ins."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from lib.rls import definer, tenant_policy

# Django's DatabaseCache, as `createcachetable` would make it, but UNLOGGED: a crash forgives what was counted.
CACHE = """
CREATE UNLOGGED TABLE web_cache (
    cache_key varchar(255) PRIMARY KEY,
    value text NOT NULL,
    expires timestamptz NOT NULL
);
CREATE INDEX web_cache_expires ON web_cache (expires);
"""

# Whoever follows a link is no member yet. It answers only what an exact digest opens, while it is open.
INVITED = """
    SELECT i.id, t.id, t.name::text, t.slug::text, i.role::text, coalesce(u.username, '')::text
    FROM tenants_invitation i JOIN tenants_tenant t ON t.id = i.tenant_id AND t.enabled
    LEFT JOIN tenants_user u ON u.id = i.invited_by_id
    WHERE i.digest = wanted AND i.accepted_at IS NULL AND i.revoked_at IS NULL AND i.expires_at > clock_timestamp()
"""


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0002_policies"),
    ]

    operations = [
        migrations.AddField(
            model_name="scope",
            name="needed",
            field=models.BooleanField(
                default=False,
                help_text="A person who lets a program in cannot leave this one out.",
                verbose_name="always part of a consent",
            ),
        ),
        migrations.AddField(
            model_name="tenant",
            name="admits",
            field=models.CharField(
                choices=[
                    ("open", "Every client that is not blocked"),
                    ("ask", "Clients that were admitted; others can be asked for"),
                    ("list", "Only clients that were admitted"),
                ],
                default="open",
                help_text="Which programs may ask its members for access. API keys are not affected.",
                max_length=8,
                verbose_name="admits clients",
            ),
        ),
        migrations.CreateModel(
            name="Invitation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "email",
                    models.EmailField(
                        blank=True,
                        help_text="Where the link is sent, when the hub can send mail.",
                        max_length=254,
                        verbose_name="e-mail",
                    ),
                ),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("owner", "Owner: everything, and who else may"),
                            ("admin", "Admin: describes tools, connections, scopes and keys"),
                            ("approver", "Approver: decides on held calls"),
                            ("auditor", "Auditor: reads the ledger"),
                            ("user", "User: calls tools"),
                        ],
                        default="user",
                        max_length=16,
                    ),
                ),
                ("digest", models.CharField(editable=False, max_length=64, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("expires_at", models.DateTimeField(editable=False)),
                ("accepted_at", models.DateTimeField(editable=False, null=True)),
                ("revoked_at", models.DateTimeField(editable=False, null=True)),
                (
                    "accepted_by",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "invited_by",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="invitations", to="tenants.tenant"
                    ),
                ),
            ],
            options={
                "ordering": ["-created_at"],
            },
        ),
        tenant_policy("tenants_invitation"),
        definer(
            "tenants_invited(wanted text)",
            "TABLE (id bigint, tenant_id bigint, tenant text, slug text, role text, inviter text)",
            INVITED,
            volatility="STABLE",
        ),
        migrations.RunSQL(CACHE, "DROP TABLE web_cache;"),
    ]
