"""The scenarios the hub is known not to pass, by revision, each with the reason.

A key is a scenario, or `scenario:check` when the rest of the scenario must pass. An entry that has become untrue fails
the test, so this file only ever gets shorter. No entry excuses a message that breaks the protocol's schema. The check
`nothing-exercised` is ours: the scenario ran without a single success.
"""

from __future__ import annotations

from typing import Final

COMPLETION: Final = "The hub completes no arguments yet."
ELICITATION: Final = "A tool cannot ask the user in the middle of a request yet; jobs and preflights can."
PROMPTS: Final = "The hub serves no prompts yet."
REQUIRED_CAPABILITY: Final = "A tool cannot name a client capability it needs yet; -32021 is for tasks alone."
RESOURCES: Final = "The hub serves no resources yet."
SAMPLING: Final = "A tool cannot ask the client's model yet."
SESSIONS: Final = "The hub keeps nothing of a session yet."

PROMPT_SCENARIOS: Final = {
    "prompts-get-embedded-resource": PROMPTS,
    "prompts-get-simple": PROMPTS,
    "prompts-get-with-args": PROMPTS,
    "prompts-get-with-image": PROMPTS,
    "prompts-list": PROMPTS,
}

RESOURCE_SCENARIOS: Final = {
    "resources-list": RESOURCES,
    "resources-read-binary": RESOURCES,
    "resources-read-text": RESOURCES,
    "resources-templates-read": RESOURCES,
}

SERVED_LATER: Final = {"completion-complete": COMPLETION, **PROMPT_SCENARIOS, **RESOURCE_SCENARIOS}

SINCE_2025_06_18: Final = {
    **SERVED_LATER,
    "resources-subscribe": RESOURCES,
    "resources-unsubscribe": RESOURCES,
    "tools-call-elicitation": ELICITATION,
    "tools-call-sampling": SAMPLING,
}

EXCEPTIONS: Final[dict[str, dict[str, str]]] = {
    "2025-03-26": {},
    "2025-06-18": SINCE_2025_06_18,
    "2025-11-25": {
        **SINCE_2025_06_18,
        "elicitation-sep1034-defaults": ELICITATION,
        "elicitation-sep1330-enums": ELICITATION,
        "server-sse-polling": SESSIONS,
    },
    "2026-07-28": {
        **SERVED_LATER,
        "caching:sep-2549-prompts-list-caching-hints": PROMPTS,
        "caching:sep-2549-resources-list-caching-hints": RESOURCES,
        "caching:sep-2549-resources-templates-list-caching-hints": RESOURCES,
        "input-required-result-basic-elicitation": ELICITATION,
        "input-required-result-basic-list-roots": ELICITATION,
        "input-required-result-basic-sampling": ELICITATION,
        "input-required-result-capability-check": ELICITATION,
        "input-required-result-ignore-extra-params": ELICITATION,
        "input-required-result-missing-input-response": ELICITATION,
        "input-required-result-multi-round": ELICITATION,
        "input-required-result-multiple-input-requests": ELICITATION,
        "input-required-result-non-tool-request": PROMPTS,
        "input-required-result-request-state": ELICITATION,
        "input-required-result-result-type": ELICITATION,
        "input-required-result-tampered-state": ELICITATION,
        "sep-2164-resource-not-found:sep-2164-data-uri": RESOURCES,
        "sep-2164-resource-not-found:sep-2164-error-code": RESOURCES,
        "server-stateless:sep-2575-http-server-no-independent-requests-on-stream": ELICITATION,
        "server-stateless:sep-2575-missing-capability-http-400": REQUIRED_CAPABILITY,
        "server-stateless:sep-2575-server-rejects-undeclared-capability": REQUIRED_CAPABILITY,
    },
}
