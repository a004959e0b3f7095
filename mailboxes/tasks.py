"""Each job: load, call the verb."""

from celery import shared_task

from mailboxes import (
    account_errands,
    accounts,
    aliases,
    archives,
    beats,
    change_errands,
    conversations,
    counts,
    domains,
    errands,
    indexing,
    quota_warnings,
    uploads,
    web_sessions,
)
from mailboxes import retention as rules

# They are what errands of their kinds do; being here they are known to every worker.
RUNNERS = (account_errands, archives, change_errands, uploads)


@shared_task
def retention() -> dict[str, int]:
    """Every hour: old trash, closed accounts and old records go."""
    web_sessions.forget_expired_cookies()
    return {
        "messages": rules.empty_old_trash(),
        "accounts": accounts.purge_closed(),
        "addresses": aliases.purge_closed_addresses(),
        "domains": domains.purge_closed_domains(),
        "records": rules.forget_old_records(),
        "errands": errands.forget_old(),
    }


@shared_task
def sweep() -> int:
    """Every six hours: content that nobody needs any more goes, and names of conversations that are gone."""
    conversations.sweep()
    return rules.sweep()


@shared_task
def index_messages() -> int:
    """Every few seconds: mail that has come is made findable, and what was expunged is forgotten."""
    return indexing.drain()


@shared_task
def count_hours() -> int:
    """Every five minutes: what came, was refused and fetched, for the operator's plots."""
    beats.forget()
    return counts.count_hours()


@shared_task
def run_errand(key: str) -> None:
    """Long work that somebody asked for, from beginning to end; in a queue of its own."""
    errands.run(key)


@shared_task
def give_out_errands() -> int:
    """Every half minute: errands that no worker has, or that a worker which died has left, are given out."""
    return errands.give_out_again()


@shared_task
def rank_mailboxes() -> int:
    """Every hour: which mailboxes are the largest, and how they grow."""
    return counts.rank_mailboxes()


@shared_task
def warn_of_full_mailboxes(everybody: bool = False) -> int:
    """Every ten minutes for those that had mail, once a day for everybody: a message at each step."""
    return quota_warnings.warn(everybody=everybody)
