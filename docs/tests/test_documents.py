"""The documents name what there is, and nothing that is not."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import get_commands

pytestmark = pytest.mark.once

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = [name for name in ("hosting", "mailboxes", "smtpd", "pop3d", "webmail") if apps.is_installed(name)]
MARKDOWN = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md")])
REQUIREMENTS = ("requirements.txt", "requirements-dev.txt")
README_MAX_LINES = 200

# Read by programs beside our own code: by boto3, and by the reader of `.env` itself.
READ_ELSEWHERE = {"ENV_FILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}

# What comes after RFC and a number where a section is meant.
CITED = re.compile(r"\bRFC[\s-]?(\S*)(\s*[,(]?\s*(?:[Ss]ections?|[Ss]ec\.|§+|[Cc]hapter)[^\n]{0,14})?")
WELL_FORMED = re.compile(r"\bRFC [1-9]\d{2,3}(?!\d)(?: sections? [1-9]\d?(?:\.\d+)*(?![\d]))?")


def read(name: str) -> str:
    return (PROJECT / name).read_text()


def settings_that_are_read() -> set[str]:
    """The first argument of each call of `env` in hosting/settings.py."""
    calls = [node for node in ast.walk(ast.parse(read("hosting/settings.py"))) if isinstance(node, ast.Call)]
    names = set()
    for call in calls:
        if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "env":
            assert isinstance(call.args[0], ast.Constant), ast.unparse(call)
            names.add(str(call.args[0].value))
    return names


def modules(*, tests: bool = False) -> Iterator[Path]:
    for package in PACKAGES:
        for path in sorted((PROJECT / package).rglob("*.py")):
            parts = path.relative_to(PROJECT).parts
            if "migrations" not in parts and (tests or "tests" not in parts):
                yield path


def pinned() -> list[str]:
    lines = [line for name in REQUIREMENTS for line in read(name).splitlines()]
    return [re.split(r"[\[=]", line)[0] for line in lines if line and not line.startswith(("#", "-r"))]


# -- settings -----------------------------------------------------------------------------------


def test_settings_are_found_in_their_file() -> None:
    assert {"SECRET_KEY", "DATABASE_URL", "CONTENT_S3_REGION", "LOG_LEVEL"} <= settings_that_are_read()


def test_env_example_names_every_setting_and_nothing_else_once_and_commented_out() -> None:
    named = re.findall(r"^(.*?)([A-Z][A-Z0-9_]*)=", read(".env.example"), re.MULTILINE)
    assert {before for before, _ in named} == {"#"}
    assert sorted(name for _, name in named) == sorted(settings_that_are_read())


def test_env_example_says_what_each_setting_is_for() -> None:
    lines = read(".env.example").splitlines()
    unexplained = [
        line
        for above, line in pairwise(lines)
        if re.match(r"#[A-Z0-9_]+=", line) and not above.startswith("# ")
    ]
    assert unexplained == []


@pytest.mark.parametrize("name", sorted(settings_that_are_read()))
def test_people_can_read_about_every_setting(name: str) -> None:
    assert re.search(rf"\b{name}\b", read("README.md") + read("docs/operations.md"))


def test_the_documents_name_no_setting_that_is_not_read() -> None:
    text = read("README.md") + read("docs/operations.md")
    assigned = set(re.findall(r"^(?:export )?([A-Z][A-Z0-9]+(?:_[A-Z0-9]+)*)=", text, re.MULTILINE))
    assert assigned - settings_that_are_read() - READ_ELSEWHERE == set()


# -- commands -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", sorted(name for name, app in get_commands().items() if app in PACKAGES))
def test_every_command_is_described(command: str) -> None:
    text = read("README.md") + read("docs/operations.md")
    assert re.search(rf"manage\.py {command}\b|`{command}\b", text)


def test_the_documents_call_no_command_that_is_not_there() -> None:
    called = {name for path in MARKDOWN for name in re.findall(r"manage\.py ([a-z]\w*)", path.read_text())}
    assert called - set(get_commands()) == set()


def test_the_readme_is_short_and_begins_with_the_two_commands() -> None:
    text = read("README.md")
    assert len(text.splitlines()) < README_MAX_LINES
    assert "make run" in text
    assert "make test" in text


def test_every_target_of_make_that_the_documents_name_is_there() -> None:
    named = {name for path in MARKDOWN for name in re.findall(r"`make ([a-z-]+)", path.read_text())}
    there = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    assert named - there == set()


def test_every_process_of_the_procfile_is_in_the_readme() -> None:
    text = read("README.md")
    processes = re.findall(r"^(\w+):", read("Procfile"), re.MULTILINE)
    assert [name for name in processes if f"`{name}`" not in text] == []


# -- dependencies -------------------------------------------------------------------------------


def test_every_pinned_package_has_a_line_that_says_why_and_no_other_has() -> None:
    described = re.findall(r"^- \*\*([\w.-]+)\*\*", read("docs/dependencies.md"), re.MULTILINE)
    assert sorted(described) == sorted(pinned())


# -- the house ----------------------------------------------------------------------------------


def files_named_in_architecture() -> list[str]:
    return re.findall(r"^- `([\w./-]+\.\w+)`", read("docs/architecture.md"), re.MULTILINE)


def test_every_file_that_the_architecture_names_is_there() -> None:
    text = read("docs/architecture.md")
    inline = re.findall(r"`((?:hosting|mailboxes|smtpd|pop3d|deploy|docs|bench)/[\w./-]+\.\w+)`", text)
    named = [*files_named_in_architecture(), *inline]
    assert [name for name in named if not (PROJECT / name).is_file()] == []


def test_the_architecture_says_of_every_module_what_it_is_for() -> None:
    named = files_named_in_architecture()
    assert [name for name in named if named.count(name) > 1] == []
    wanted = [str(path.relative_to(PROJECT)) for path in modules() if path.read_text().strip()]
    assert sorted(set(wanted) - set(named)) == []


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: str(path.relative_to(PROJECT)))
def test_every_link_between_documents_leads_somewhere(path: Path) -> None:
    links = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)|(?:src|href|srcset)=\"([^\"]+)\"", path.read_text())
    targets = [one or other for one, other in links]
    relative = [target for target in targets if not re.match(r"[a-z]+:|#", target)]
    assert [t for t in relative if not (path.parent / t.partition("#")[0]).exists()] == []


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: str(path.relative_to(PROJECT)))
def test_every_anchor_of_a_link_is_a_heading(path: Path) -> None:
    wrong = []
    for target in re.findall(r"\]\(([^):\s]*#[^)\s]+)\)", path.read_text()):
        name, _, anchor = target.partition("#")
        headings = re.findall(r"^#+ (.+)$", (path.parent / name if name else path).read_text(), re.MULTILINE)
        slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        if anchor not in slugs:
            wrong.append(target)
    assert wrong == []


# -- citations ----------------------------------------------------------------------------------


def citations_in(text: str) -> Iterator[str]:
    """Each mention of an RFC with its section, if it has one; a comment's line ends do not count."""
    flowing = re.sub(r"\s*\n\s*(?:#:?\s*)?", " ", text)
    for found in CITED.finditer(flowing):
        if found[1][:1].isdigit() or found[2]:
            yield flowing[found.start() : found.start() + 40]


def malformed(text: str) -> list[str]:
    wrong = []
    for citation in citations_in(text):
        match = WELL_FORMED.match(citation)
        behind = citation[match.end() :] if match else ""
        if match is None or re.match(r"\s*[,(]?\s*([Ss]ec|§|[Cc]hapter)", behind):
            wrong.append(citation)
    return wrong


@pytest.mark.parametrize("path", list(modules(tests=True)), ids=lambda path: str(path.relative_to(PROJECT)))
def test_citations_of_rfcs_are_well_formed(path: Path) -> None:
    assert malformed(path.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        "RFC 1939 section 5",
        "RFC 5321 sections 4.1.1.2, 4.1.1.3",
        "RFC 5321 section\n    # 4.5.3.1.9: line too long",
        "RFC 1939 has no limit",
        "RFC 4155 appendix A",
        "what the RFC asks for",
        "(RFC 3030, without BINARYMIME)",
    ],
)
def test_a_good_citation_is_let_pass(text: str) -> None:
    assert malformed(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "RFC1939 section 5",
        "RFC-1939 section 5",
        "RFC 1939, section 5",
        "RFC 1939 Section 5",
        "RFC 1939 sec. 5",
        "RFC 1939 §5",
        "RFC 1939 section five",
        "RFC 19399 section 5",
        "RFC 5321 section 0.1",
    ],
)
def test_a_bad_citation_is_found(text: str) -> None:
    assert len(malformed(text)) == 1
