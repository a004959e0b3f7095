"""What lies in a winmail.dat (MS-OXTNEF): the attachments, by name. Pure, bounded, reads what is whole.

Written here, for the library that does this (tnefparse 1.4, of 2021) copies the rest of the file for each
attribute and sums it octet by octet: without a bound, quadratic, and with errors for what is torn.
"""

import struct
from dataclasses import dataclass

SIGNATURE = 0x223E9F78
ATTACHMENTS_MAX = 200
ATTRIBUTES_MAX = 20_000
PROPERTIES_MAX = 500
NAME_MAX = 1_000

# MS-OXTNEF section 2.1.3.3: attribute names.
TITLE, DATA, RENDERING, PROPERTIES, CODEPAGE = 0x8010, 0x800F, 0x9002, 0x9005, 0x9007
# MS-OXPROPS: PidTagAttachLongFilename, PidTagAttachFilename, PidTagAttachDataObject.
LONG_NAME, SHORT_NAME, DATA_OBJECT = 0x3707, 0x3704, 0x3701
_SIZES = {0x02: 4, 0x0B: 4, 0x03: 4, 0x04: 4, 0x0A: 4, 0x05: 8, 0x06: 8, 0x07: 8, 0x14: 8, 0x40: 8, 0x48: 16}
_VARIABLE = {0x1E, 0x1F, 0x0D, 0x102}
_UNICODE = 0x1F


@dataclass(slots=True)
class Enclosed:
    """One attachment inside: `data` is a range of the file, not a copy."""

    name: str = ""
    data: tuple[int, int] = (0, 0)

    @property
    def size(self) -> int:
        return self.data[1] - self.data[0]

    def octets(self, file: bytes) -> bytes:
        return file[self.data[0] : self.data[1]]


def enclosed(file: bytes) -> list[Enclosed]:
    """The attachments of a winmail.dat, in their order; what is torn ends the list."""
    if len(file) < 6 or struct.unpack_from("<I", file)[0] != SIGNATURE:
        return []
    found: list[Enclosed] = []
    codec = "cp1252"
    at = 6
    for _ in range(ATTRIBUTES_MAX):
        if at + 9 > len(file) or len(found) > ATTACHMENTS_MAX:
            break
        name, _kind, length = struct.unpack_from("<HHI", file, at + 1)
        begin, end = at + 9, at + 9 + length
        if end > len(file):
            break
        if name == CODEPAGE and length >= 4:
            codec = _codec(struct.unpack_from("<I", file, begin)[0])
        elif name == RENDERING:
            found.append(Enclosed())
        elif found:
            _read(file, name, begin, end, found[-1], codec)
        at = end + 2
    return found[:ATTACHMENTS_MAX]


def _codec(codepage: int) -> str:
    known = {65001: "utf-8", 932: "cp932", 936: "gbk", 949: "cp949", 950: "cp950"}
    return known.get(codepage) or (f"cp{codepage}" if 1250 <= codepage <= 1258 else "cp1252")


def _read(file: bytes, name: int, begin: int, end: int, into: Enclosed, codec: str) -> None:
    if name == TITLE:
        into.name = into.name or _text(file[begin : min(end, begin + NAME_MAX)], codec)
    elif name == DATA:
        into.data = (begin, end)
    elif name == PROPERTIES:
        try:
            _read_properties(file, begin, end, into, codec)
        except struct.error:
            return


def _read_properties(file: bytes, at: int, end: int, into: Enclosed, codec: str) -> None:
    """MS-OXTNEF section 2.1.3.4: count, then type, identity, perhaps a name, and the value of each."""
    (count,) = struct.unpack_from("<I", file, at)
    at += 4
    for _ in range(min(count, PROPERTIES_MAX)):
        if at + 4 > end:
            return
        kind, identity = struct.unpack_from("<HH", file, at)
        at += 4
        if identity >= 0x8000:
            at = _after_name(file, at)
        many = bool(kind & 0x1000)
        kind &= 0xEFFF
        values = 1
        if many or kind in _VARIABLE:
            (values,) = struct.unpack_from("<I", file, at)
            at += 4
        for _ in range(min(values, PROPERTIES_MAX)):
            if kind in _SIZES:
                at += _SIZES[kind]
                continue
            if kind not in _VARIABLE:
                return
            (length,) = struct.unpack_from("<I", file, at)
            at += 4
            if at + length > end:
                return
            _take(file, kind, identity, at, at + length, into, codec)
            at += length + (-length) % 4


def _after_name(file: bytes, at: int) -> int:
    (kind,) = struct.unpack_from("<I", file, at + 16)
    if kind == 0:
        return at + 24
    (length,) = struct.unpack_from("<I", file, at + 20)
    return int(at + 24 + length + (-length) % 4)


def _take(file: bytes, kind: int, identity: int, at: int, end: int, into: Enclosed, codec: str) -> None:
    if identity == LONG_NAME or (identity == SHORT_NAME and not into.name):
        name = file[at : min(end, at + NAME_MAX)]
        into.name = _text(name, "utf-16-le" if kind == _UNICODE else codec) or into.name
    elif identity == DATA_OBJECT and into.data == (0, 0):
        # An object begins with the 16 octets of its interface.
        into.data = (min(at + 16, end), end)


def _text(data: bytes, codec: str) -> str:
    return data.decode(codec, "replace").partition("\0")[0]
