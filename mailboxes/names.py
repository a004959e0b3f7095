"""People found by any word of their names, in any order: 'Kunde' and 'kunde k' find Karl Kunde.

The words are rows of their own (NameWord), folded as search folds them, so that case and accents do not
count; kept by whatever gives an account its name.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import islice

from django.db import connection
from django.db.models import F, QuerySet
from django.db.models.expressions import Combinable
from django.db.models.functions import Collate

from mailboxes import rows
from mailboxes.models import Account, NameWord
from mailboxes.words import asked, words

# Of several words so many rows of each are read, a few milliseconds; what has fewer is rare.
LOOKED_THROUGH = 2_000
# Accounts of which is asked in one statement whether they have a common word, too.
ASKED_AT_ONCE = 500
# Of what is asked for, so many words count.
ASKED_MAX = 5
# Sorts behind every continuation of a prefix.
LAST = "\U0010ffff"

# Domains that may be seen (primary keys); None: all of them.
Scope = Collection[int] | None


def write(accounts: Sequence[Account]) -> None:
    """Enter the names of accounts that are new, in one statement."""
    rows.insert([one for account in accounts for one in _rows_of(account)])


def rewrite(account: Account) -> None:
    """Enter a name that has changed, in the transaction that changes it."""
    NameWord.objects.filter(account=account).delete()
    write([account])


def _rows_of(account: Account) -> Iterator[NameWord]:
    for word in dict.fromkeys(words(account.name)):
        yield NameWord(account_id=account.pk, domain_id=account.domain_id, word=word)


def bearers(text: str, scope: Scope, most: int) -> list[int]:
    """Accounts in whose names each word of `text` begins a word: at most `most` primary keys.

    `scope`: only those of these domains. Where each of the words is one that very many names have, only some
    of them are looked at.
    """
    found: dict[int, None] = {}
    for phrase in asked(text):
        prefixes = list(dict.fromkeys(phrase))[:ASKED_MAX]
        # Of one word a few rows more, for some people have two that begin so.
        some = _bearing(prefixes[0], scope, 2 * most) if len(prefixes) == 1 else _bearing_all(prefixes, scope)
        found.update(dict.fromkeys(islice(some, 2 * most)))
        if len(found) >= most:
            break
    return list(found)[:most]


def _bearing_all(prefixes: Sequence[str], scope: Scope) -> Iterator[int]:
    """Accounts with all of these: among those of the rarest word."""
    rows_of = {prefix: _bearing(prefix, scope, LOOKED_THROUGH) for prefix in prefixes}
    rare = {prefix: set(found) for prefix, found in rows_of.items() if len(found) < LOOKED_THROUGH}
    driver = min(rare or rows_of, key=lambda prefix: len(rows_of[prefix]))
    candidates = [one for one in dict.fromkeys(rows_of[driver]) if all(one in of for of in rare.values())]
    common = [prefix for prefix in prefixes if prefix not in rare and prefix != driver]
    for start in range(0, len(candidates), ASKED_AT_ONCE):
        some = candidates[start : start + ASKED_AT_ONCE]
        for prefix in common:
            bearing = set(_beginning(prefix).filter(account__in=some).values_list("account_id", flat=True))
            some = [one for one in some if one in bearing]
        yield from some


def _bearing(prefix: str, scope: Scope, most: int) -> list[int]:
    """In the order of the index that is read, which has all that is asked for: no row is looked at."""
    found = _beginning(prefix)
    found = (
        found.order_by("_word")
        if scope is None
        else found.filter(domain__in=scope).order_by("domain", "_word")
    )
    return list(found.values_list("account_id", flat=True)[:most])


def _beginning(prefix: str) -> "QuerySet[NameWord]":
    found = NameWord.objects.alias(_word=octets(F("word")))
    return found.filter(_word__gte=prefix, _word__lt=prefix + LAST)


def octets(column: Combinable) -> Combinable:
    """Compared octet by octet, as the indexes are; SQLite does so by itself."""
    return Collate(column, "C") if connection.vendor == "postgresql" else column
