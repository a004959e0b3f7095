"""What commands take as arguments, judged with clear text."""

import argparse

from mailboxes.sizes import octets_from


def size(text: str) -> int:
    """A size of at least one octet."""
    try:
        octets = octets_from(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not 0 < octets < 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size that a mailbox can have")
    return octets
