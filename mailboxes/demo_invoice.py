"""The invoice in the demo's sample mail: a PDF of one page, written by hand."""

from itertools import accumulate

# Where a text begins, in points from the lower left corner of an A4 page (595 x 842); its size; bold or not.
TEXTS = [
    (56, 770, 20, True, "Holzhandel Ähre"),
    (56, 752, 10, False, "Am Sägewerk 3 · 12345 Musterstadt"),
    (56, 690, 11, False, "Ann Example"),
    (56, 675, 11, False, "Gartenweg 8"),
    (56, 660, 11, False, "12345 Musterstadt"),
    (56, 600, 16, True, "Rechnung Nr. 2026-0317"),
    (420, 600, 11, False, "12. März 2026"),
    (56, 550, 10, True, "Artikel"),
    (330, 550, 10, True, "Menge"),
    (450, 550, 10, True, "Betrag"),
    (56, 525, 11, False, "Bretter, Lärche, gehobelt"),
    (330, 525, 11, False, "12"),
    (450, 525, 11, False, "178,80 €"),
    (56, 503, 11, False, "Schrauben 5 x 60, Edelstahl"),
    (330, 503, 11, False, "200"),
    (450, 503, 11, False, "31,00 €"),
    (56, 481, 11, False, "Lieferung frei Haus"),
    (330, 481, 11, False, "1"),
    (450, 481, 11, False, "0,00 €"),
    (330, 448, 12, True, "Zu zahlen"),
    (450, 448, 12, True, "209,80 €"),
    (56, 390, 11, False, "Bitte überweisen Sie den Betrag binnen 14 Tagen. Vielen Dank!"),
]
RULES = [(542, 0.8), (470, 0.4), (436, 1.2)]  # height above the lower edge and thickness, in points


def invoice() -> bytes:
    """The file, with its table of objects, as every reader wants it."""
    page = b"/Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 6 0 R"
    drawing = _drawing()
    objects = [
        b"<</Type /Catalog /Pages 2 0 R /Lang (de)>>",
        b"<</Type /Pages /Kids [3 0 R] /Count 1>>",
        b"<<%s /Resources <</Font <</Plain 4 0 R /Bold 5 0 R>>>>>>" % page,
        b"<</Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding>>",
        b"<</Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding>>",
        b"<</Length %d>> stream\n%s\nendstream" % (len(drawing), drawing),
    ]
    pieces = [b"%PDF-1.4\n"]
    pieces += [b"%d 0 obj %s endobj\n" % (number, one) for number, one in enumerate(objects, 1)]
    *starts, end = accumulate(len(piece) for piece in pieces)
    table = b"".join(b"%010d 00000 n \n" % start for start in starts)
    count = len(objects) + 1
    tail = b"trailer <</Size %d /Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (count, end)
    return b"".join([*pieces, b"xref\n0 %d\n0000000000 65535 f \n" % count, table, tail])


def _drawing() -> bytes:
    lines = [f"{width} w 56 {height} m 539 {height} l S" for height, width in RULES]
    for left, height, size, bold, text in TEXTS:
        lines.append(f"BT /{'Bold' if bold else 'Plain'} {size} Tf {left} {height} Td ({text}) Tj ET")
    return "\n".join(lines).encode("cp1252")
