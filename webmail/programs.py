"""What a browser calls itself (User-Agent, RFC 9110 section 10.1.5), as people would say it."""

import re

from django.http import HttpRequest

AGENT_MAX = 512
# The first that fits counts: each of these also claims to be those below it.
BROWSERS = (
    ("Edge", re.compile(r"\bEdgA?(?:iOS)?/(\d+)")),
    ("Opera", re.compile(r"\bOPR/(\d+)")),
    ("Samsung Internet", re.compile(r"\bSamsungBrowser/(\d+)")),
    ("Firefox", re.compile(r"\b(?:Firefox|FxiOS)/(\d+)")),
    ("Chromium", re.compile(r"\bChromium/(\d+)")),
    ("Chrome", re.compile(r"\b(?:HeadlessChrome|Chrome|CriOS)/(\d+)")),
    ("Safari", re.compile(r"\bVersion/(\d+)[\d.]* (?:Mobile/\w+ )?Safari/")),
)
SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def program_of(request: HttpRequest) -> str:
    """'Firefox 128 (Linux)'; of what is not known, how it begins; '' if it says nothing."""
    return said_shortly(request.headers.get("User-Agent", ""))


def said_shortly(agent: str) -> str:
    agent = "".join(c if c.isprintable() else "?" for c in agent[:AGENT_MAX])
    for name, pattern in BROWSERS:
        if found := pattern.search(agent):
            system = next((said for mark, said in SYSTEMS if mark in agent), "")
            return f"{name} {found[1][:6]} ({system})" if system else f"{name} {found[1][:6]}"
    return agent[:60]
