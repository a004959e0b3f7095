"""The page that draws a PDF in a frame beside its letter. It holds nobody's mail: the file is handed in."""

from django.http import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_safe

from hosting.csp import HEADER
from webmail.sessions import SubscriberRequest, for_subscribers

# Scripts run in it, but without our origin (no allow-same-origin) and without a network (no connect-src,
# img-src, font-src): what a hostile file does to the library that draws it, it does alone. blob: is that
# library, handed in by the page around; WebAssembly is its decoders of scans; no text is evaluated.
PDF_PAGE_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'self' blob: 'wasm-unsafe-eval'; "
    "worker-src blob:; style-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)


@require_safe
@for_subscribers
@xframe_options_sameorigin
def page(request: SubscriberRequest) -> HttpResponseBase:
    """See `static/webmail/pdf_frame.js`, and for the page around it `static/webmail/looks.js`."""
    response = render(request, "webmail/pdf.html")
    response.headers[HEADER] = PDF_PAGE_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
