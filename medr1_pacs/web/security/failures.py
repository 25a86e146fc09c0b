"""What somebody is shown who may not, or whom we cannot serve: a page, or JSON for the API."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.exceptions import HTTPException

from medr1_pacs.web.pages.templating import templates
from medr1_pacs.web.security.door import Transport
from medr1_pacs.web.security.headers import HEADERS

_TITLES = {
    403: "Not allowed",
    404: "Not found",
    405: "Not possible here",
    409: "Not done",
    413: "Too large",
    422: "Not understood",
    429: "Too many attempts",
    500: "Something broke",
    503: "Away for the moment",
}


def refuse(
    request: Request, message: str, status: int, *, headers: dict[str, str] | None = None
) -> Response:
    """Say in a sentence why not."""
    if is_for_program(request):
        return JSONResponse({"detail": message}, status, headers)
    context = {"title": _TITLES.get(status, "Not possible"), "message": message}
    return templates.TemplateResponse(
        request, "refused.html", context, status_code=status, headers=headers
    )


def is_for_program(request: Request) -> bool:
    return request.url.path.startswith("/api/")


def lead_to_sign_in(request: Request, error: Exception) -> Response:
    """Answer `NotSignedIn`."""
    if is_for_program(request):
        message = "this needs a valid API token: Authorization: Bearer medr1_..."
        if not _transport(request).is_private:
            message = insecure_message(request)
        return JSONResponse({"detail": message}, 401, {"WWW-Authenticate": "Bearer"})
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    following = f"?next={quote(target, safe='/')}" if request.method == "GET" else ""
    return RedirectResponse(f"/sign-in{following}", 303)


def refuse_as(status: int, request: Request, error: Exception) -> Response:
    """Answer an error of ours with a status of HTTP; its message says the thing and the remedy."""
    return refuse(request, str(error), status)


def show_invalid(request: Request, error: Exception) -> Response:
    """Say which value cannot be, without repeating it."""
    assert isinstance(error, RequestValidationError)
    problems = [
        f"{' '.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors()
    ]
    return refuse(request, "; ".join(problems), 422)


def show_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = "There is nothing here." if error.status_code == 404 else str(error.detail)
    headers = dict(error.headers) if error.headers else None
    return refuse(request, message, error.status_code, headers=headers)


def render_away(request: Request, error: Exception) -> Response:
    """Say what is away, and that nothing has to be done here."""
    return refuse(request, f"{error}. The page is back as soon as the database is.", 503)


def show_defect(request: Request, error: Exception) -> Response:
    """Answer what nobody foresaw; outside every middleware, so with its own headers."""
    headers = {**HEADERS, "Cache-Control": "no-store"}
    return refuse(
        request, "This is a defect of the service; its log says more.", 500, headers=headers
    )


def insecure_message(request: Request) -> str:
    """Say why nobody can sign in over this connection, and what its operator does about it."""
    return (
        f"Nobody can sign in from {_transport(request).address or 'there'} over this connection, "
        "since others could read the password on its way. On the machine itself "
        "http://127.0.0.1 works. For everybody else the operator sets MEDR1_WEB_CERTIFICATE and "
        "MEDR1_WEB_KEY, or runs a proxy with HTTPS that sends X-Forwarded-For and "
        "X-Forwarded-Proto, and names it in MEDR1_TRUSTED_PROXIES."
    )


def _transport(request: Request) -> Transport:
    transport: Transport = request.state.transport
    return transport
