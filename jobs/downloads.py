"""What a signed link to a large result opens: the result as a file, for whoever holds the link."""

import logging

import orjson
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from jobs.models import Job
from jobs.results import mime_type
from jobs.sealed import unseal_result
from jobs.shapes import result_body
from lib import db, seal, storage
from tenants.middleware import own_transactions
from tools.values import ABSENT, Result, Text

log = logging.getLogger(__name__)

STRICT = {
    # A browser must neither run it, nor guess what it is, nor tell anybody where it came from.
    "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-store",
    "X-Robots-Tag": "noindex",
}


@csrf_exempt  # a link that is posted to must not end up in the log of forged forms
@require_safe
@own_transactions
def download(request: HttpRequest, token: str) -> HttpResponse:
    """The whole result, or 404: forged, expired, forgotten, or of somebody who may no longer act. 503 while the storage
    is away.

    Asks for no cookie and no credential, as hosts open it that have none.
    """
    row = _row(token)
    try:
        result = _whole(row) if row is not None else None
    except storage.Away as problem:
        log.error("the result of a job cannot be given for now: %s", problem)  # noqa: TRY400
        later = "The result is there, but cannot be read for the moment. Open the link again in a minute.\n"
        return HttpResponse(
            later, status=503, content_type="text/plain; charset=utf-8", headers={**STRICT, "Retry-After": "60"}
        )
    if row is None or result is None:
        gone = "There is nothing here. A link to a result expires; ask for the result again to get a new one.\n"
        return HttpResponse(gone, status=404, content_type="text/plain; charset=utf-8", headers=STRICT)
    kind = mime_type(result)
    name = f"{row.tool}-{row.pk}.{'txt' if kind == 'text/plain' else 'json'}"
    headers = {**STRICT, "Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(_content(result), content_type=f"{kind}; charset=utf-8", headers=headers)


def _row(token: str) -> Job | None:
    """The job that a link names, while its member may still act in a tenant that is switched on."""
    named = storage.opened(token, timezone.now())
    if named is None:
        return None
    tenant_id, job_id = named
    with db.tenant_scope([tenant_id]):
        return (
            Job.objects.filter(pk=job_id, tenant_id=tenant_id, expires_at__gt=timezone.now())
            .filter(tenant__enabled=True, member__active=True, member__user__is_active=True)
            .exclude(result_key="")
            .only("tool", "result_key")
            .first()
        )


def _whole(row: Job) -> Result | None:
    """Read outside any transaction: storage may be slow."""
    try:
        return unseal_result(storage.read(row.result_key))
    except (storage.Missing, seal.SealError) as problem:
        log.error("the result of job %s cannot be given: %s", row.pk, problem)  # noqa: TRY400
        return None


def _content(result: Result) -> bytes:
    if result.structured is not ABSENT:
        return orjson.dumps(result.structured)
    texts = [block.text for block in result.content if isinstance(block, Text)]
    if len(texts) == len(result.content):
        return "\n".join(texts).encode()
    return orjson.dumps(result_body(result))
