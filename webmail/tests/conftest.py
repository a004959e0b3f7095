"""What the tests of the webmail have: somebody logged in, and mail worth looking at."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

PASSWORD = "correct horse battery"
LETTER = b"""From: Garden Weekly <news@newsletter.test>\r
To: Ann <ann@example.test>, Bob <bob@example.test>\r
Subject: The garden\r
Date: Mon, 23 Nov 2026 10:00:00 +0000\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=outer\r
\r
--outer\r
Content-Type: multipart/related; boundary=inner\r
\r
--inner\r
Content-Type: text/html; charset=utf-8\r
\r
<p onclick="steal()">Sow <b>beans</b></p><img src="cid:bean"><img src="https://tracker.test/pixel.png">\r
<script>document.title = "secret"</script>\r
--inner\r
Content-Type: image/png\r
Content-ID: <bean>\r
Content-Transfer-Encoding: base64\r
\r
iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVQIHWNoAAAAggCBd8tZ7QAAAABJRU5ErkJggg==\r
--inner--\r
--outer\r
Content-Type: text/html; name="evil.html"\r
Content-Disposition: attachment; filename="evil.html"\r
\r
<script>alert(document.cookie)</script> secret-attachment\r
--outer\r
Content-Type: application/pdf; name="bill.pdf"\r
Content-Disposition: attachment; filename="bill.pdf"\r
\r
%PDF-1.4 secret-pdf\r
--outer\r
Content-Type: image/svg+xml; name="logo.png"\r
Content-Disposition: attachment; filename="logo.png"\r
\r
<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>\r
--outer--\r
"""


@pytest.fixture
def logged_in() -> Callable[[Any], Client]:
    """A browser in which somebody has logged in."""

    def make(account: Any) -> Client:
        client = Client()
        answer = client.post("/login/", {"login": account.login, "password": PASSWORD})
        assert answer.status_code == 302
        return client

    return make


@pytest.fixture
def browser_of_ann(ann: Any, logged_in: Callable[[Any], Client]) -> Client:
    return logged_in(ann)


@pytest.fixture
def letter(ann: Any, post: Callable[..., Any]) -> Any:
    """A letter with everything in it, to ann."""
    [message] = post(ann, text=LETTER)
    return message


@pytest.fixture
def folder_of() -> Callable[[Any, str], Any]:
    from mailboxes.models import Folder, FolderKind

    return lambda account, kind: Folder.objects.get(mailbox=account.mailbox, kind=FolderKind(kind))
