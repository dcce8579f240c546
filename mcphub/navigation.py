"""How the admin looks and what its sidebar offers, in unfold's words (https://unfoldadmin.com/docs/configuration/)."""

from typing import Any

from django.templatetags.static import static
from django.urls import reverse_lazy


def _page(title: str, icon: str, model: str, may: str) -> dict[str, Any]:
    link = reverse_lazy(f"admin:{model}_changelist")
    return {"title": title, "icon": icon, "link": link, "permission": f"tenants.administration.{may}"}


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "mcphub",
    "SITE_HEADER": "mcphub",
    "SITE_SUBHEADER": "MCP hub",
    "SITE_SYMBOL": "hub",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda _: static("mcphub/icon.svg")}],
    "SITE_URL": None,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_HISTORY": False,
    "ACCOUNT": {
        "navigation": [
            {"title": "My jobs", "link": "/jobs/"},
            {"title": "Approvals", "link": "/approvals/"},
            {"title": "Connected apps", "link": "/account/apps/"},
            {"title": "Security", "link": reverse_lazy("mfa_index")},
        ]
    },
    "STYLES": [lambda _: static("mcphub/admin.css")],
    "SCRIPTS": [lambda _: static("mcphub/admin.js"), lambda _: static("mcphub/copy.js")],
    "SIDEBAR": {
        "navigation": [
            {
                "title": "What hosts may use",
                "items": [
                    _page("Tools", "build", "tools_tool", "may_manage"),
                    _page("Connections", "cable", "tools_connection", "may_manage"),
                    _page("Scopes", "lock_open", "tenants_scope", "may_manage"),
                    _page("Allowances", "hourglass", "jobs_allowance", "may_manage"),
                ],
            },
            {
                "title": "What is allowed",
                "items": [
                    _page("Rules", "policy", "policy_rule", "may_read_ledger"),
                    _page("Limits", "speed", "policy_limit", "may_manage"),
                    {"title": "Approvals", "icon": "rule", "link": "/approvals/", "badge": "jobs.inbox.badge"},
                    _page("Access requests", "front_hand", "policy_accessrequest", "may_manage"),
                    {
                        "title": "Effective access",
                        "icon": "person_search",
                        "link": reverse_lazy("admin:oversight_access"),
                        "permission": "tenants.administration.may_read_ledger",
                    },
                    _page("Kill switches", "power_settings_new", "oversight_switch", "may_manage"),
                ],
            },
            {
                "title": "Who may use it",
                "items": [
                    _page("Members", "group", "tenants_member", "may_manage"),
                    _page("Groups", "groups", "tenants_group", "may_manage"),
                    _page("Invitations", "mail", "tenants_invitation", "may_manage"),
                    _page("API keys", "key", "access_apikey", "may_manage"),
                    _page("Clients", "apps", "access_client", "may_manage"),
                    _page("Admissions", "how_to_reg", "access_admission", "may_manage"),
                    _page("Outside issuers", "verified_user", "access_outsideissuer", "may_manage"),
                ],
            },
            {
                "title": "What happened",
                "items": [
                    _page("Jobs", "pending_actions", "jobs_job", "may_read_ledger"),
                    _page("Ledger", "receipt_long", "audit_entry", "may_read_ledger"),
                    _page("Hooks", "webhook", "jobs_hook", "may_manage"),
                    _page("Deliveries", "outbox", "jobs_delivery", "may_manage"),
                ],
            },
            {
                "title": "The hub",
                "items": [
                    _page("Tenants", "domain", "tenants_tenant", "may_manage"),
                    _page("Users", "person", "tenants_user", "is_staff"),
                ],
            },
        ],
    },
}
