"""What octets are a picture that a browser may be given, whatever their sender calls them."""

# SVG is none: it is a document, which runs scripts and loads what it likes.
SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
AVIF = {b"avif", b"avis"}


def picture_type(octets: bytes) -> str:
    """What kind of picture octets really are; "": none that is shown."""
    if octets[:4] == b"RIFF" and octets[8:12] == b"WEBP":
        return "image/webp"
    if octets[4:8] == b"ftyp" and octets[8:12] in AVIF:
        return "image/avif"
    return next((kind for begin, kind in SIGNATURES.items() if octets.startswith(begin)), "")
