"""The pictures in the demo's sample mail, drawn point by point: PNG files of 256 colours at most."""

import zlib
from collections.abc import Callable
from struct import pack

Colour = tuple[int, int, int]
# The colour of a point by its place, counted from the upper left corner.
Drawing = Callable[[int, int], Colour]

PAPER, GRID, INK = (247, 250, 255), (222, 232, 246), (38, 70, 120)
# Left, top, right and bottom of what the plan shows, in points: walls, a bench along one of them, a window.
WALLS, BENCH, WINDOW = (70, 50, 430, 270), (90, 70, 410, 110), (210, 46, 300, 58)
WALL = 8
DOOR = (200, 262, 70)  # its hinge, and how wide it is
SKY, SUN, HILL, FIELD, EARTH = (206, 229, 242), (250, 205, 92), (132, 178, 120), (86, 142, 74), (104, 78, 58)


def plan() -> bytes:
    """The shed from above, on squared paper."""
    return _png(500, 320, _plan)


def beans() -> bytes:
    """A bed of beans below a hill, in the morning."""
    return _png(480, 180, _beans)


def _plan(x: int, y: int) -> Colour:
    hinge, sill, width = DOOR
    left, top, right, bottom = WALLS
    from_hinge = ((x - hinge) ** 2 + (y - sill) ** 2) ** 0.5
    opens = hinge <= x <= hinge + width and y >= sill - width
    if _within(WINDOW, x, y):
        return PAPER if y == (WINDOW[1] + WINDOW[3]) // 2 else INK
    if opens and sill - WALL // 2 <= y <= bottom:
        return PAPER
    if opens and y < sill and (abs(from_hinge - width) < 0.8 or x - hinge < 3):
        return INK
    if _within(WALLS, x, y) and not _within((left + WALL, top + WALL, right - WALL, bottom - WALL), x, y):
        return INK
    a, b, c, d = BENCH
    if _within(BENCH, x, y) and (x in {a, c} or y in {b, d} or (x + y) % 12 == 0):
        return INK
    return GRID if x % 20 == 0 or y % 20 == 0 else PAPER


def _beans(x: int, y: int) -> Colour:
    if y < 56 + (x - 300) ** 2 // 2600:
        return SUN if (x - 380) ** 2 + (y - 30) ** 2 < 400 else SKY
    if y < 92:
        return HILL
    row, below = divmod(y - 92, 22)
    # Every other row stands half a plant further.
    beside = (x + 16 * (row % 2)) % 32
    return FIELD if (beside - 16) ** 2 + (below - 11) ** 2 < 90 else EARTH


def _within(box: tuple[int, int, int, int], x: int, y: int) -> bool:
    left, top, right, bottom = box
    return left <= x <= right and top <= y <= bottom


def _png(width: int, height: int, drawing: Drawing) -> bytes:
    """The file: signature, header, palette, lines without a filter, end (PNG, ISO/IEC 15948)."""
    palette: dict[Colour, int] = {}
    lines = b"".join(
        b"\0" + bytes(palette.setdefault(drawing(x, y), len(palette)) for x in range(width))
        for y in range(height)
    )
    header = pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    colours = b"".join(map(bytes, palette))
    chunks = [(b"IHDR", header), (b"PLTE", colours), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        pack(">I", len(data)) + name + data + pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
