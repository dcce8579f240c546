"""`manage.py apikey <tenant> --user <name> [--scope S ...] [--name N]`: print a new API key, alone on stdout."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from access import actions
from mcphub.management.tenant_command import member_of, tenant_of


class Command(BaseCommand):
    help = "Issue an API key for a member of a tenant. The key is printed once and kept nowhere."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenant", help="the tenant's slug")
        parser.add_argument("--user", required=True, help="user name of the member the key acts for")
        parser.add_argument("--scope", action="append", dest="scopes", help="repeatable; default: all of theirs")
        parser.add_argument("--name", default="made on the command line", help="what will use the key")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with tenant_of(options["tenant"]) as tenant:
                _, secret = actions.issue_key(
                    member_of(tenant, options["user"]),
                    name=options["name"],
                    scopes=options["scopes"],
                    actor="system",
                )
        except ValidationError as problem:
            raise CommandError(" ".join(problem.messages)) from None
        self.stdout.write(secret)
