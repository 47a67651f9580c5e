"""GET /docs: Swagger UI over /openapi.json, with its own files, so that it works without the internet."""

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

router = APIRouter(include_in_schema=False)
ASSETS = "/docs/assets"
# The page starts Swagger UI in a script of its own.
POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
)


def assets() -> StaticFiles:
    """Serve Swagger UI's files."""
    return StaticFiles(packages=[("fastapi_offline", "static")])


@router.get("/docs")
def page() -> HTMLResponse:
    """Show the document as a page on which every endpoint can be tried."""
    made = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="housecast",
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{ASSETS}/favicon.png",
    )
    made.headers["content-security-policy"] = POLICY
    return made
