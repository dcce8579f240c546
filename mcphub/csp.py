"""What the hub's own pages tell browsers they may do: the content security policy, and who keeps hold of whom."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

# Everything from here and nothing inline. `form-action` is left to pages with forms: on a page whose form ends in a
# redirect to a host it would stop the redirect.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)

# For the admin: unfold's pages set styles inline, and its Alpine evaluates the expressions in their attributes.
ADMIN_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


# Web hosts open sign-in and consent in a popup, and the page of theirs that it ends at tells the one that opened it.
# With Django's `same-origin` the browser would cut the two apart on the way. Pages that no host opens keep that.
OPENER = "unsafe-none"


class ContentSecurityPolicyMiddleware:
    """Sets the policies on every page that has none of its own."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        admin = request.path_info.startswith(reverse("admin:index"))
        response.headers.setdefault("Content-Security-Policy", ADMIN_POLICY if admin else POLICY)
        if not admin:
            response.headers.setdefault("Cross-Origin-Opener-Policy", OPENER)
        return response
