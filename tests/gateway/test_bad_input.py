"""Whatever is sent to the endpoint gets the status and code the protocol names, tells nothing, and harms nobody."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx2
import pytest

from tests.cast import Cast
from tests.gateway.conftest import Make
from tests.host import ENVELOPE, MODERN, PREFIX, REVISIONS, Answer, Host

LEGACY = "2025-11-25"
LEAKS = ("Traceback", 'File "', ".py", "site-packages", "psycopg", "pydantic", "orjson", "SELECT", "Error:", "0x7f")
EVERY = pytest.mark.parametrize("revision", [LEGACY, MODERN])


def message(method: Any = "tools/call", params: Any = None, **fields: Any) -> dict[str, Any]:
    """A request for a tool call of 2026-07-28, or whatever is said instead."""
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": called() if params is None else params} | fields


def called(arguments: Any = None, name: Any = "echo", meta: Any = None) -> dict[str, Any]:
    return {
        "name": name,
        "arguments": {"text": "x"} if arguments is None else arguments,
        "_meta": ENVELOPE if meta is None else meta,
    }


def each(*values: Any) -> tuple[Any, ...]:
    """Values of many types, which the type checker shall not compare."""
    return values


def without(mapping: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name not in names}


@dataclass
class Case:
    """One bad request and what it must get. request_id: the id the error names."""

    name: str
    body: Any
    status: int
    code: int
    request_id: Any = 7
    revision: str = MODERN
    headers: dict[str, str] = field(default_factory=dict)
    says: str = ""


broken = partial(Case, status=400, code=-32700, request_id=None, says="cannot be read as JSON")
invalid = partial(Case, status=400, code=-32600)
mismatch = partial(Case, status=400, code=-32020)
params = partial(Case, status=400, code=-32602)

UNREADABLE = [
    broken("an empty body", b""),
    broken("only blanks", b"  \n"),
    broken("half an object", b'{"jsonrpc": "2.0", "id": 7'),
    broken("a trailing comma", b'{"jsonrpc": "2.0",}'),
    broken("two values", b"{} {}"),
    broken("single quotes", b"{'jsonrpc': '2.0'}"),
    broken("no UTF-8", b'{"jsonrpc": "\xff"}'),
    broken("UTF-16", '{"jsonrpc": "2.0"}'.encode("utf-16")),
    broken("NaN", json.dumps(message(params=called({"text": float("nan")}))).encode()),
    broken("Infinity", json.dumps(message(params=called({"text": float("-inf")}))).encode()),
    broken("a number too large for a float", b'{"jsonrpc": "2.0", "id": 7, "method": "ping", "params": {"a": 1e400}}'),
    broken("a lone surrogate in arguments", json.dumps(message(params=called({"text": "\ud800"}))).encode()),
    broken("a lone surrogate in the tool's name", json.dumps(message(params=called(name="\udfff"))).encode()),
    broken("a body nested 10,000 deep", b"[" * 10_000 + b"]" * 10_000),
    broken("arguments nested 10,000 deep", b'{"params": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001),
]


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": [value]}
    return value


SHAPES = [
    *(invalid(f"a body that is {body!r}", body, request_id=None) for body in each("text", 5, None, True, 1.5)),
    *(
        invalid(f"a body that is {body!r} before", body, request_id=None, revision=LEGACY)
        for body in each("text", None)
    ),
    invalid("no jsonrpc", without(message(), "jsonrpc")),
    invalid("jsonrpc 1.0", message(jsonrpc="1.0")),
    invalid("jsonrpc as a number", message(jsonrpc=2.0)),
    invalid("no method", without(message(), "method")),
    invalid("an object with nothing in it", {}, request_id=None),
    *(invalid(f"a method that is {method!r}", message(method)) for method in each(1, None, ["tools/call"], {}, True)),
    *(
        invalid(f"an id that is {value!r}", message(id=value), request_id=None)
        for value in each(None, True, False, 1.5, {}, [1])
    ),
    *(invalid(f"params that are {value!r}", message(params=value)) for value in each([], ["echo"], "echo", 5, True)),
    invalid("params that are null", message() | {"params": None}),
    invalid("a response", {"jsonrpc": "2.0", "id": 7, "result": {}}, request_id=None),
    invalid("an error response", {"jsonrpc": "2.0", "id": 7, "error": {"code": 1, "message": "x"}}, request_id=None),
    invalid("a batch", [message()], request_id=None, says="2025-03-26"),
    invalid("arguments nested 250 deep", message(params=called({"text": nested(125)})), says="nested"),
    invalid("arguments nested 900 deep", message(params=called({"text": nested(450)})), says="nested"),
    invalid("a whole number of 71 bits", message(params=called({"text": 2**70})), says="1180591620717411303424"),
    invalid("a whole number just too large", message(params=called({"text": 2**64})), says="send it as a string"),
    invalid("a whole number just too small", message(params=called({"text": -(2**63) - 1}))),
    invalid("a whole number of 300 digits", message(params=called({"text": 1})) | {"x": "BIG"}, says="64 bits"),
    invalid("an id of 71 bits", message(id=2**70), request_id=None),
]

HEADERS = [
    mismatch("another version in the header", message(), headers={"mcp_protocol_version": LEGACY}),
    mismatch(
        "another version in the body", message(params=called(meta={**ENVELOPE, f"{PREFIX}/protocolVersion": LEGACY}))
    ),
    mismatch("no version header", message(), headers={"mcp_protocol_version": ""}),
    mismatch("another method in the header", message(), headers={"mcp_method": "tools/list"}),
    mismatch("no method header", message(), headers={"mcp_method": ""}),
    mismatch("another case in the method header", message(), headers={"mcp_method": "Tools/Call"}),
    mismatch("another name in the header", message(), headers={"mcp_name": "shout"}),
    mismatch("no name header", message(), headers={"mcp_name": ""}),
    mismatch("a broken base64 name", message(), headers={"mcp_name": "=?base64?!!?="}),
    mismatch("a version that is no text", message(params=called(meta={**ENVELOPE, f"{PREFIX}/protocolVersion": 5}))),
    Case(
        "a version nobody speaks",
        message(params=called(meta={**ENVELOPE, f"{PREFIX}/protocolVersion": "2099-01-01"})),
        400,
        -32022,
        headers={"mcp_protocol_version": "2099-01-01"},
    ),
    Case(
        "a notification of that version",
        {"jsonrpc": "2.0", "method": "x"},
        400,
        -32022,
        None,
        headers={"mcp_protocol_version": "2099-01-01"},
    ),
]

PARAMS = [
    params("no params", without(message(), "params")),
    params("no _meta", message(params=without(called(), "_meta"))),
    params("no version in _meta", message(params=called(meta={f"{PREFIX}/clientCapabilities": {}}))),
    params("no capabilities in _meta", message(params=called(meta={f"{PREFIX}/protocolVersion": MODERN}))),
    *(
        params(f"a _meta that is {meta!r}", message(params=called() | {"_meta": meta}))
        for meta in each(None, 5, "x", [])
    ),
    *(
        params(
            f"a _meta that is {meta!r} before", message(params=called() | {"_meta": meta}), status=200, revision=LEGACY
        )
        for meta in each(5, "x", [])
    ),
    *(
        params(f"{what} that are {value!r}", message(params=called(meta={**ENVELOPE, f"{PREFIX}/{key}": value})))
        for what, key in (("capabilities", "clientCapabilities"), ("client facts", "clientInfo"))
        for value in each(5, "x", [])
    ),
    *(
        params(f"a progress token that is {token!r}", message(params=called(meta={**ENVELOPE, "progressToken": token})))
        for token in each({}, [], 1.5)
    ),
    *(
        params(f"arguments that are {value!r}", message(params=called() | {"arguments": value}))
        for value in each([], "x", 5, True)
    ),
    params("no name", message(params=without(called(), "name")), headers={"mcp_name": "echo"}),
    *(
        params(
            f"a name that is {name!r}",
            message(params=called(name=name)),
            headers={"mcp_name": str(name)},
            status=400,
            code=-32020,
        )
        for name in each(5, [], {})
    ),
    params("a name that is null", message(params=called(name="x") | {"name": None})),
    params("a tool nobody has", message(params=called(name="no_such")), headers={"mcp_name": "no_such"}),
    params(
        "a tool's name of 10,000 characters",
        message(params=called(name="n" * 10_000)),
        headers={"mcp_name": "n" * 10_000},
    ),
    params(
        "a tool's name with NUL", message(params=called(name="e\0cho")), headers={"mcp_name": "=?base64?ZQBjaG8=?="}
    ),
    params(
        "a tool's name with NUL before", message(params=called(name="e\0cho", meta={})), status=200, revision=LEGACY
    ),
    params("no such tool before", message(params=called(name="no_such", meta={})), status=200, revision=LEGACY),
    *(
        params(
            f"a cursor that is {cursor!r}",
            message("tools/list", {"cursor": cursor, "_meta": ENVELOPE}),
            headers={"mcp_method": "tools/list"},
        )
        for cursor in each("", "x", "a:b:c", "\0", "c" * 10_000, 0, False, 5, {}, [])
    ),
    params("a bad cursor before", message("tools/list", {"cursor": "x"}), status=200, revision=LEGACY),
]

METHODS = [
    *(
        Case(
            f"the method {method[:40]!r}",
            message(method, {"_meta": ENVELOPE}),
            404,
            -32601,
            headers={"mcp_method": method},
        )
        for method in (
            "no/such",
            "initialize",
            "ping",
            "logging/setLevel",
            "resources/list",
            "prompts/list",
            "tools",
            "m" * 10_000,
            "__class__",
            "tools/call/x",
            "tasks/result",
            "tasks/list",
        )
    ),
    *(
        Case(f"the method {method[:40]!r} before", message(method, {}), 200, -32601, revision=LEGACY)
        for method in ("no/such", "server/discover", "tasks/update", "", "m" * 10_000, "nul\0")
    ),
]

TYPES = [
    Case(f"content of the type {kind!r}", message(), 415, -32600, None, headers={"content_type": kind})
    for kind in ("text/plain", "", "application/x-www-form-urlencoded", "application/jsonp", "json")
]

ALL = [*UNREADABLE, *SHAPES, *HEADERS, *PARAMS, *METHODS, *TYPES]


@pytest.fixture(scope="module")
def made(hub: list[str]) -> Iterator[Host]:
    """One host of one tenant for the whole table: nothing in it changes anything."""
    with Cast.on_stage() as cast:
        cast.tool(cast.acme, "echo")
        yield Host(hub[0], cast.acme.slug, cast.key(cast.uma)[1])


@pytest.fixture
def stage(made: Host) -> Iterator[Callable[[str], Host]]:
    """That host in each revision; afterwards the server still answers a good call."""
    yield lambda revision: Host(made.base, made.slug, made.key, revision)
    assert made.call("echo", {"text": "still here"}).text == '{"text":"still here"}'


def send(host: Host, case: Case) -> Answer:
    """Post the case with the headers a well-behaved host would add, unless the case says otherwise."""
    routing = {"mcp_method": "tools/call", "mcp_name": "echo"} if case.revision == MODERN else {}
    body = case.body if isinstance(case.body, bytes) else json.dumps(case.body).encode()
    return post(host, body.replace(b'"BIG"', b"9" * 300), **(routing | case.headers))


def post(host: Host, body: Any, **headers: str) -> Answer:
    """Headers that are given empty are left out."""
    sent = host.headers() | {name.replace("_", "-"): value for name, value in headers.items()}
    with httpx2.Client(timeout=30) as client:
        return Answer(client.post(host.url, content=body, headers={k: v for k, v in sent.items() if v}))


def assert_told(answer: Answer, status: int, code: int, request_id: Any) -> None:
    """A JSON-RPC error of that status and code, for that id, that gives nothing away."""
    assert (answer.status, answer.error["code"]) == (status, code), answer.response.text[:500]
    assert set(answer.final) == {"jsonrpc", "id", "error"}
    assert answer.final["jsonrpc"] == "2.0"
    assert answer.final["id"] == request_id
    assert type(answer.final["id"]) is type(request_id)
    assert 0 < len(answer.error["message"]) <= 500
    assert len(answer.response.content) < 1500
    assert not [leak for leak in LEAKS if leak in answer.response.text]


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_bad_input_gets_the_code_the_protocol_names(stage: Callable[[str], Host], case: Case) -> None:
    answer = send(stage(case.revision), case)
    assert_told(answer, case.status, case.code, case.request_id)
    assert case.says in answer.error["message"]


def test_an_unsupported_version_is_told_what_is_spoken(stage: Callable[[str], Host]) -> None:
    case = next(case for case in HEADERS if case.name == "a version nobody speaks")
    assert send(stage(MODERN), case).error["data"] == {"supported": [MODERN], "requested": "2099-01-01"}


@EVERY
def test_a_body_over_the_bound_is_refused_by_its_length(stage: Callable[[str], Host], revision: str) -> None:
    body = json.dumps(message(params=called({"text": "x" * 5_000_000}))).encode()
    assert_told(post(stage(revision), body), 413, -32600, None)


@EVERY
def test_a_body_over_the_bound_without_a_length_is_refused_too(stage: Callable[[str], Host], revision: str) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(80):
            yield b" " * 65536

    assert_told(post(stage(revision), chunks()), 413, -32600, None)


def test_a_body_just_below_the_bound_is_read(stage: Callable[[str], Host]) -> None:
    answer = stage(LEGACY).post(message(params=called({"text": "x" * 4_000_000}, meta={})))
    assert answer.status == 200
    assert "4000011 bytes" in answer.result["content"][-1]["text"]


@EVERY
def test_nul_in_arguments_does_no_harm(stage: Callable[[str], Host], revision: str) -> None:
    asking = stage(revision)
    assert asking.call("echo", {"text": "a\0b"}).result["structuredContent"] == {"text": "ab"}  # it is cleaned away
    refused = asking.call("echo", {"te\0xt": {"\0": ["\0"]}})
    assert refused.result["isError"] is True


def test_whole_numbers_up_to_64_bits_arrive_unchanged(cast: Cast, host: Make) -> None:
    cast.tool(cast.acme, "give_back")
    for value in (2**64 - 1, -(2**63), 2**53 + 1):
        assert host().call("give_back", {"value": value}).result["structuredContent"] == {"value": value}


def test_many_digits_in_a_text_are_no_number(stage: Callable[[str], Host]) -> None:
    assert stage(MODERN).call("echo", {"text": "9" * 400}).result["structuredContent"] == {"text": "9" * 400}


def test_of_arguments_with_the_same_name_the_last_one_counts(stage: Callable[[str], Host]) -> None:
    body = json.dumps(message()).encode().replace(b'{"text": "x"}', b'{"text": 1, "text": "last"}')
    answer = post(stage(MODERN), body, mcp_method="tools/call", mcp_name="echo")
    assert answer.result["structuredContent"] == {"text": "last"}


@EVERY
def test_a_missing_accept_header_gets_an_answer(stage: Callable[[str], Host], revision: str) -> None:
    asking = stage(revision)
    assert asking.call("echo", {"text": "x"}, accept="").text == '{"text":"x"}'
    assert asking.call("echo", {"text": "x"}, accept="application/json").text == '{"text":"x"}'


@pytest.mark.parametrize("name", ["mcp-method", "mcp-name", "mcp-protocol-version"])
def test_a_routing_header_sent_twice_is_refused(stage: Callable[[str], Host], name: str) -> None:
    asking = stage(MODERN)
    sent = asking.headers() | {"mcp-method": "tools/call", "mcp-name": "echo"}
    with httpx2.Client() as client:
        answer = client.post(asking.url, json=message(), headers=[*sent.items(), (name, sent[name])])
    assert_told(Answer(answer), 400, -32020, 7)


@pytest.fixture
def mirroring(cast: Cast, host: Make) -> Host:
    """A host whose tool asks for an argument to be repeated in a header."""
    schema = {
        "type": "object",
        "properties": {"text": {"type": "string", "x-mcp-header": "Text"}},
        "required": ["text"],
    }
    cast.tool(cast.acme, "echo", input_schema=schema)
    return host()


@pytest.mark.parametrize("sent", [[], ["other"], ["=?base64?!?="], ["x", "x"], ["other", "x"]])
def test_a_mirrored_argument_that_differs_from_its_header_is_refused(mirroring: Host, sent: list[str]) -> None:
    routing = mirroring.headers() | {"mcp-method": "tools/call", "mcp-name": "echo"}
    lines = [*routing.items(), *(("mcp-param-text", value) for value in sent)]
    with httpx2.Client() as client:
        answer = Answer(client.post(mirroring.url, json=message(), headers=lines))
    assert_told(answer, 400, -32020, 7)


def test_a_mirrored_argument_that_equals_its_header_passes(mirroring: Host) -> None:
    assert mirroring.call("echo", {"text": "x"}, mcp_param_text="x").text == '{"text":"x"}'
    assert mirroring.call("echo", {"text": "ü"}, mcp_param_text="=?base64?w7w=?=").text == '{"text":"ü"}'
    before = Host(mirroring.base, mirroring.slug, mirroring.key, LEGACY)
    assert before.call("echo", {"text": "x"}).text == '{"text":"x"}'


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("method", ["notifications/initialized", "notifications/cancelled", "notifications/no/such"])
def test_notifications_are_accepted_without_an_answer(stage: Callable[[str], Host], revision: str, method: str) -> None:
    for value in each({}, {"params": {}}, {"params": {"requestId": {}}}, {"params": {"_meta": 5}}):
        answer = stage(revision).post({"jsonrpc": "2.0", "method": method, **value}, mcp_method=method)
        assert (answer.status, answer.response.content) == (202, b"")


def test_a_notification_whose_header_names_another_method_is_refused(stage: Callable[[str], Host]) -> None:
    sent = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    assert_told(stage(MODERN).post(sent, mcp_method="tools/call"), 400, -32020, None)
    assert stage(MODERN).post(sent).status == 202
    assert stage(LEGACY).post(sent, mcp_method="tools/call").status == 202


@pytest.mark.parametrize("revision", REVISIONS[:3])
def test_responses_are_accepted_before_2026(stage: Callable[[str], Host], revision: str) -> None:
    answer = stage(revision).post({"jsonrpc": "2.0", "id": 7, "result": {}})
    assert (answer.status, answer.response.content) == (202, b"")
