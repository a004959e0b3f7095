"""People found by any word of their names: in any order, by how it begins, whatever its case and accents."""

from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection

from mailboxes import accounts, directory, names
from mailboxes.exceptions import Invalid
from mailboxes.models import Account, Domain, NameWord

# Made by migrations 0004 and 0013 beside Django's own, which does not know them: where it makes a table anew
# (on SQLite for every column that is added or changed), they are lost, and to be made again.
BESIDE = {
    "account_login_prefix",
    "account_in_domain_prefix",
    "account_name_prefix",
    "account_suspended_prefix",
    "account_closed_prefix",
    "address_name_prefix",
    "address_in_domain_prefix",
    "domain_name_prefix",
    "name_word_prefix",
    "name_word_in_domain_prefix",
}


def opened(login: str, name: str) -> Account:
    return accounts.open_account(f"{login}@example.test", "", name=name, encoded="!")


@pytest.fixture
def people(domain: Domain) -> None:
    for login, name in (
        ("karl", "Karl Kunde"),
        ("eva", "Eva-Maria Kundera"),
        ("rene", "René Müller"),
        ("anna", "Anna Kühn"),
        ("li", "王小明"),
        ("nobody", ""),
    ):
        opened(login, name)


def found(text: str) -> list[str]:
    return [account.login.partition("@")[0] for account in directory.find(text).accounts]


@pytest.mark.parametrize(
    ("text", "logins"),
    [
        ("Kunde", ["eva", "karl"]),
        ("kunder", ["eva"]),
        ("kunde karl", ["karl"]),
        ("ku ka", ["karl"]),
        ("Maria", ["eva"]),
        ("RENE MULLER", ["rene"]),
        ("mueller", ["rene"]),
        ("Müller", ["rene"]),
        ("KÜHN", ["anna"]),
        ("小明", ["li"]),
        ("karl kundera", []),
        ("unde", []),
        ("--", []),
    ],
)
def test_somebody_is_found_by_the_words_of_the_name(people: None, text: str, logins: list[str]) -> None:
    assert found(text) == logins


def test_the_words_follow_the_name(domain: Domain) -> None:
    ann, bob = opened("ann", "Ann Zander"), opened("bob", "Bob Zander")
    accounts.set_name(ann, "Ann Adler")
    assert (found("zander"), found("adler")) == (["bob"], ["ann"])
    accounts.set_name(bob, "")
    assert found("zander") == []
    assert list(NameWord.objects.order_by("word").values_list("word", flat=True)) == ["adler", "ann"]


def test_a_name_that_is_not_taken_leaves_its_words(domain: Domain) -> None:
    ann = opened("ann", "Ann Zander")
    with pytest.raises(Invalid):
        accounts.set_name(ann, "A" * 201)
    assert found("zander") == ["ann"]


def test_whoever_comes_with_many_is_found_and_whoever_is_purged_is_not(domain: Domain) -> None:
    newcomers = [
        accounts.Newcomer(f"n{number}@example.test", "!", 1_000, f"Number{number} Neuling")
        for number in range(3)
    ]
    accounts.open_accounts(newcomers, actor="x")
    assert found("neuling") == ["n0", "n1", "n2"]
    accounts.purge(Account.objects.get(login="n1@example.test"))
    assert found("neuling") == ["n0", "n2"]
    assert NameWord.objects.filter(word="number1").count() == 0


def test_a_domain_administrator_finds_people_of_own_domains_only(domain: Domain) -> None:
    other = accounts.create_domain("other.test")
    accounts.open_account("karl@other.test", "x", name="Karl Kunde", encoded="!")
    opened("karl", "Karl Kunde")

    def by(scope: set[int]) -> dict[str, list[str]]:
        return {
            text: [one.login for one in directory.find(text, scope).accounts]
            for text in ("kunde", "kunde karl")
        }

    for own, login in ((domain, "karl@example.test"), (other, "karl@other.test")):
        assert by({own.pk}) == {"kunde": [login], "kunde karl": [login]}
    assert by(set()) == {"kunde": [], "kunde karl": []}


def test_a_rare_word_finds_its_bearer_among_many_of_a_common_one(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "LOOKED_THROUGH", 2)
    for number in range(5):
        opened(f"m{number}", f"Mia Schmidt{number}")
    assert found("mia schmidt4") == found("schmidt4 mia") == ["m4"]


def test_names_that_were_there_before_are_entered_in_portions(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        opened(f"k{number}", f"Karl Kunde{number} Kunde{number}")
    expected = sorted(NameWord.objects.values_list("account", "domain", "word"))
    assert len(expected) == 10
    NameWord.objects.filter(word__in=["kunde1", "karl"]).delete()
    step = import_module("mailboxes.migrations.0014_enter_words_of_names")
    monkeypatch.setattr(step, "AT_ONCE", 2)
    step.enter(apps, connection.schema_editor(atomic=False))
    assert sorted(NameWord.objects.values_list("account", "domain", "word")) == expected


def test_the_indexes_that_django_does_not_know_are_there(db: None) -> None:
    with connection.cursor() as cursor:
        tables = ("mailboxes_account", "mailboxes_address", "mailboxes_domain", "mailboxes_nameword")
        there = [connection.introspection.get_constraints(cursor, table) for table in tables]
    indexes = {name for of_table in there for name, facts in of_table.items() if facts["index"]}
    if connection.vendor == "sqlite":  # introspection leaves out those of expressions
        with connection.cursor() as cursor:
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'index'")
            indexes = {name for (name,) in cursor.fetchall()}
    assert indexes & BESIDE == BESIDE
