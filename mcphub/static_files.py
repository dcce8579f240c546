"""Static files under ASGI."""

from django.http import HttpRequest, HttpResponseBase
from django.http.response import HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """WhiteNoise, answering with whole files: its streams are synchronous, which ASGI can only read into memory, with a
    warning for every file. Ours are small."""

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> HttpResponseBase:  # type: ignore[override]
        found = static_file.get_response(request.method, request.META)  # type: ignore[no-untyped-call]
        content = b""
        if found.file is not None:
            with found.file as file:
                content = file.read()
        response = HttpResponse(content, status=int(found.status))
        del response["Content-Type"]
        for name, value in found.headers:
            response[name] = value
        return response
