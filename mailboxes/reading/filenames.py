"""The name under which an attachment is offered, whatever its sender called it, and the kind that it is."""

import unicodedata

NAME_MAX = 150
# What a file system or a header could take for something else.
FORBIDDEN = set('\\/:*?"<>|')

# Ending, type, and how it is shown. SVG is a document that runs scripts: no image here.
TYPES = {
    "pdf": "application/pdf",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "bmp": "image/bmp",
    "txt": "text/plain",
    "log": "text/plain",
    "csv": "text/csv",
    "md": "text/markdown",
    "htm": "text/html",
    "html": "text/html",
    "ics": "text/calendar",
    "eml": "message/rfc822",
    "zip": "application/zip",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "svg": "image/svg+xml",
    "vcf": "text/vcard",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
}
ENDINGS = {content_type: f".{ending}" for ending, content_type in reversed(TYPES.items())}
NAMELESS = {
    "message/rfc822": "message",
    "message/delivery-status": "delivery-status.txt",
    "text/calendar": "invitation",
}
KINDS = {
    "text/html": "html",
    "text/calendar": "calendar",
    "application/ics": "calendar",
    "application/pdf": "pdf",
    "application/x-pdf": "pdf",
    "message/rfc822": "message",
    "message/global": "message",
    "application/ms-tnef": "tnef",
    "application/vnd.ms-tnef": "tnef",
    "message/delivery-status": "text",
    "message/disposition-notification": "text",
    **dict.fromkeys(
        [f"image/{kind}" for kind in ("png", "jpeg", "jpg", "pjpeg", "gif", "webp", "avif")]
        + ["image/bmp", "image/x-ms-bmp"],
        "image",
    ),
}


def kind_of(content_type: str) -> str:
    if kind := KINDS.get(content_type):
        return kind
    return "text" if content_type.startswith("text/") else "other"


def type_of(filename: str) -> str:
    """The type that an ending stands for."""
    if filename.lower() == "winmail.dat":
        return "application/ms-tnef"
    return TYPES.get(filename.rpartition(".")[2].lower(), "application/octet-stream")


def safe(name: str, content_type: str) -> str:
    """The last piece of a name, without what steers, hides or is forbidden; never empty."""
    name = name[:4_000].replace("\\", "/").rstrip("/").rpartition("/")[2]
    kept = "".join(
        "_" if character in FORBIDDEN else character
        for character in unicodedata.normalize("NFC", name)
        if character.isprintable()
    )
    kept = " ".join(kept.split()).strip(". ")
    if not kept:
        kept = NAMELESS.get(content_type, "attachment")
        kept += ENDINGS.get(content_type, "")
    stem, dot, ending = kept.rpartition(".")
    if len(kept) > NAME_MAX:
        kept = stem[: NAME_MAX - 20] + dot + ending[-19:] if dot else kept[:NAME_MAX]
    return kept
