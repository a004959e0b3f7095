"""What the owner of a mailbox chooses."""

from mailboxes.models import Account, Mailbox, POP3Delete


def choose_pop3_delete(mailbox: int, choice: POP3Delete) -> None:
    """What deleting by POP3 means from the next session's end on."""
    Mailbox.objects.filter(pk=mailbox).update(pop3_delete=choice)


def choose_language(account: int, language: str) -> None:
    """Of pages and letters to this account; empty: what the browser asks for."""
    Account.objects.filter(pk=account).update(language=language)


def choose_conversations(mailbox: int, grouped: bool) -> None:
    """Whether lists show a conversation as one row."""
    Mailbox.objects.filter(pk=mailbox).update(conversations=grouped)
