"""What the REST interface takes and gives; the OpenAPI document is made from it."""

from rest_framework import serializers

from jobs.models import State


class Wanted(serializers.Serializer):
    """Which jobs a list should have."""

    state = serializers.ChoiceField(choices=State.choices, required=False, help_text="Only jobs in this state.")
    tool = serializers.CharField(max_length=128, required=False, help_text="Only jobs of this tool.")
    mine = serializers.BooleanField(
        default=True, help_text="No: also the jobs of others in the tenant, for owners, admins and auditors."
    )


class Progress(serializers.Serializer):
    """What the tool said last."""

    done = serializers.FloatField(allow_null=True)
    total = serializers.FloatField(allow_null=True)
    message = serializers.CharField(allow_blank=True)


_ASK_AT = "Where a person can ask for access, where a rule is why it did not run."


class JobBody(serializers.Serializer):
    """A job without its content."""

    id = serializers.UUIDField()
    tool = serializers.CharField()
    version = serializers.IntegerField(help_text="The tool's version that runs, whatever is published meanwhile.")
    username = serializers.CharField(help_text="Whose call it was.")
    state = serializers.ChoiceField(choices=State.choices)
    reason = serializers.CharField(allow_blank=True, help_text="Why it ended so, or waits again; a code.")
    ask_at = serializers.URLField(allow_null=True, help_text=_ASK_AT)
    cancelling = serializers.BooleanField(help_text="Somebody asked it to stop, and it has not stopped yet.")
    progress = Progress()
    place = serializers.IntegerField(
        allow_null=True, help_text="How many jobs of the tenant go before it, while it waits."
    )
    attempts = serializers.IntegerField()
    most_attempts = serializers.IntegerField()
    arguments = serializers.JSONField(allow_null=True, help_text="What it was called with, redacted and shortened.")
    created_at = serializers.DateTimeField()
    changed_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True, help_text="When the result is dropped, once it has ended.")
    forgotten = serializers.BooleanField(help_text="The result has been dropped.")
    check_after = serializers.FloatField(
        allow_null=True, help_text="Seconds to wait before looking again; null once it has ended."
    )
    url = serializers.URLField()
    result_url = serializers.URLField()
    events_url = serializers.URLField()


class CallError(serializers.Serializer):
    """A failure of the hub, as against one of the tool, which is a result with `isError`."""

    code = serializers.IntegerField()
    message = serializers.CharField()


class CallResult(serializers.Serializer):
    """What the tool gave, as MCP hosts know it."""

    content = serializers.ListField(child=serializers.DictField())
    structuredContent = serializers.JSONField(required=False)
    isError = serializers.BooleanField()
    _meta = serializers.JSONField(
        required=False, help_text="With what others wrote: `mcphub/provenance`, which says where it came from."
    )


class ResultBody(serializers.Serializer):
    """How a job ended. One of `result` and `error` is null, or both when nothing came of it."""

    id = serializers.UUIDField()
    state = serializers.ChoiceField(choices=State.choices)
    reason = serializers.CharField(allow_blank=True)
    ask_at = serializers.URLField(allow_null=True, help_text=_ASK_AT)
    result = CallResult(allow_null=True)
    error = CallError(allow_null=True)
    download_url = serializers.URLField(
        allow_null=True,
        help_text="Where the whole result is, when `result` is only a summary. Whoever has this URL can open it.",
    )


class Said(serializers.Serializer):
    reason = serializers.CharField(help_text="A code; see the reference of errors.")
    message = serializers.CharField()
    retryable = serializers.BooleanField()
    retry_after = serializers.FloatField(required=False, help_text="Seconds to wait, where that is known.")


class ErrorBody(serializers.Serializer):
    """What every request that fails is answered with."""

    error = Said()
