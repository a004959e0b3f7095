"""Sizes as people write them. Pure."""

import re

UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def octets_from(text: str) -> int:
    """'2G', '50M', '512 KiB' or '1048576' as octets; ValueError when it is none of them."""
    match = re.fullmatch(r"([0-9]{1,15})\s*([KMGT]?)(?:I?B)?", text.strip().upper())
    if match is None:
        raise ValueError(f"{text!r} is not a size: say it in octets or as 512K, 50M, 2G")
    return int(match[1]) * UNITS[match[2]]


def size_text(octets: int) -> str:
    """Octets for people: '512 B', '1.5 KiB', '50 MiB'."""
    size, unit = float(octets), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.1f} {unit}".replace(".0 ", " ")
