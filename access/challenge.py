"""The challenges of RFC 6750 and RFC 9728: what a client without (enough) authority is told."""

from collections.abc import Iterable

from tenants.addresses import metadata_url


def unauthorized(slug: str, scopes: Iterable[str], *, presented: bool) -> str:
    """The WWW-Authenticate of a 401; it names an error only when a credential was presented (RFC 6750 section 3.1).

    One sentence for everything that is wrong with one, so that it tells nobody whether it was ever right or where.
    """
    error = [("error", "invalid_token"), ("error_description", "The credential is not valid here.")]
    return _bearer(slug, scopes, error if presented else [])


def malformed(slug: str, says: str) -> str:
    """The WWW-Authenticate of a 400: a credential that was presented in a way that is not taken."""
    return _bearer(slug, (), [("error", "invalid_request"), ("error_description", says)])


def insufficient(slug: str, scopes: Iterable[str]) -> str:
    """The WWW-Authenticate of a 403: everything held already plus everything this call needs, so that a host that
    asks for exactly these loses nothing."""
    return _bearer(
        slug,
        scopes,
        [("error", "insufficient_scope"), ("error_description", "The call needs scopes that were not granted.")],
    )


def _bearer(slug: str, scopes: Iterable[str], error: list[tuple[str, str]]) -> str:
    parameters = [*error, ("resource_metadata", metadata_url(slug))]
    if listed := " ".join(sorted(scopes)):
        parameters.append(("scope", listed))
    return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in parameters)
