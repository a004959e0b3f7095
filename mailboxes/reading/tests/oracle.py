"""What sanitised HTML may hold, said again and apart from the sanitiser, and read by another parser."""

import re
import xml.etree.ElementTree as ET  # only builds what html5lib reads
from collections.abc import Iterator

import html5lib

from mailboxes.reading.links import words

TAGS = words(
    "a abbr acronym address article aside b bdi bdo big blockquote br caption center cite code col "
    "colgroup dd del dfn div dl dt em figcaption figure font footer h1 h2 h3 h4 h5 h6 header hr i img ins "
    "kbd li main mark nav ol p pre q s samp section small span strike strong style sub sup table tbody td "
    "tfoot th thead time tr tt u ul var wbr"
)
ATTRIBUTES = words(
    "align alt bgcolor border cellpadding cellspacing class clear color colspan dir face height href "
    "hspace id lang noshade nowrap rel rowspan size span src start style target text title type valign "
    "value background vspace width"
)
OURS = "/mail/image/"
BAD_CSS = re.compile(
    r"\\|@(?!media )|expression|javascript|var\(|image-set|element\(|attr\(|behavior|binding|"
    r"position:(?!static|relative)|<|/\*|-webkit|content:|cursor|filter|z-index|animation",
    re.IGNORECASE,
)
CSS_URL = re.compile(r"url\(([^)]*)\)?|src\(", re.IGNORECASE)


def tree(html: str) -> ET.Element:
    parsed = html5lib.parse(f"<!doctype html><body>{html}", namespaceHTMLElements=False)
    assert isinstance(parsed, ET.Element)
    return parsed


def elements(html: str) -> Iterator[ET.Element]:
    for element in tree(html).iter():
        if element.tag not in {"html", "head", "body"} or element.attrib:
            yield element


def complaints(html: str) -> list[str]:
    """What is in the HTML and may not be."""
    found = []
    for at, element in enumerate(elements(html)):
        if not isinstance(element.tag, str) or element.tag not in TAGS:
            found.append(f"tag {element.tag}")
            continue
        if element.tag == "style":
            found += [f"style at {at}"] * (at > 0)
            found += css_complaints(element.text or "")
        for name, value in element.attrib.items():
            found += attribute_complaints(element.tag, str(name), value)
    return found


def attribute_complaints(tag: str, name: str, value: str) -> list[str]:
    if name not in ATTRIBUTES:
        return [f"attribute {tag} {name}"]
    if name == "href" and not re.match(r"(?:https?://|https?:|mailto:|tel:)\S", value):
        return [f"href {value!r}"]
    if name in {"src", "background"} and not value.startswith(OURS):
        return [f"{name} {value!r}"]
    if name == "style":
        return css_complaints(value)
    if name == "class":
        classes = value.split()
        ours = {"restante-link-warning", "restante-cut"}
        return [f"class {one}" for one in classes if not one.startswith("m-") and one not in ours]
    if name == "id" and not value.startswith("m-"):
        return [f"id {value}"]
    if tag == "a" and name == "target" and value != "_blank":
        return [f"target {value}"]
    return []


def css_complaints(text: str) -> list[str]:
    urls = [url for url in CSS_URL.finditer(text) if not (url[1] or "").strip("\"'").startswith(OURS)]
    return [f"css {bad[0]!r}" for bad in [*BAD_CSS.finditer(text), *urls]]


def canonical(html: str) -> list[tuple[str, list[tuple[str, str]], str | None, str | None]]:
    """The tree, with attributes in one order."""
    return [
        (str(element.tag), sorted(element.attrib.items()), element.text, element.tail)
        for element in tree(html).iter()
    ]
