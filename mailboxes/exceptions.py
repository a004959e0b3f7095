"""Why the store says no; each door maps these to its own codes in one place.

MailboxError
├── RecipientRefused         this recipient cannot have this message
│   ├── UnknownRecipient     no such address in a domain of ours
│   ├── ForeignDomain        not a domain of ours: we never relay
│   ├── ClosedDomain         a domain that was ours until lately
│   ├── RecipientUnavailable not now (receiving off, address suspended, domain put off)
│   └── OverQuota            no room now
├── StoreFull                the disk has no room
├── StoreUnavailable         database or storage do not answer
│   └── Unstorable           this message is such that the database does not take it
├── ContentMissing           the bytes of a message are not where they should be
├── LoginRefused             wrong password, suspended, switched off, throttled
├── MaildropLocked           another session holds it (POP3_EXCLUSIVE)
└── Invalid                  what was asked for cannot be (bad address, name taken)
"""


class MailboxError(Exception):
    """Anything that the store refuses."""


class RecipientRefused(MailboxError):
    """This recipient cannot have this message. `mailboxes`: whose it would have been (primary keys), as far
    as they are known, so that the refusal is found with them."""

    def __init__(self, recipient: str = "", mailboxes: tuple[int, ...] = ()) -> None:
        super().__init__(recipient)
        self.mailboxes = mailboxes


class UnknownRecipient(RecipientRefused):
    """No such address in a domain of ours."""


class ForeignDomain(RecipientRefused):
    """The domain is not ours."""


class ClosedDomain(RecipientRefused):
    """The domain takes no mail any more."""


class RecipientUnavailable(RecipientRefused):
    """The mailbox takes no mail now; it may again."""


class OverQuota(RecipientRefused):
    """The mailbox has no room for this message now."""


class StoreFull(MailboxError):
    """No room for content (disk or bucket full)."""


class StoreUnavailable(MailboxError):
    """The database or the content storage does not answer."""


class Unstorable(StoreUnavailable):
    """The database answers, but does not take this message: a fault of ours, so temporary to the peer."""


class ContentMissing(MailboxError):
    """The bytes of a message are gone for good."""


class MaildropLocked(MailboxError):
    """Another session holds the maildrop."""


class Invalid(MailboxError):
    """What was asked for cannot be done; the text says why and what can."""


class LoginRefused(MailboxError):
    """`text` may be shown to whoever tried; `delay` (seconds) is to be waited before it is;
    `permanent` tells a matter of rights or settings from a wrong password. Who says it in another language
    has `reason` and `detail`: what an operator wrote, or the minutes until another try."""

    def __init__(
        self, text: str, *, reason: str, delay: float = 0.0, permanent: bool = False, detail: str = ""
    ) -> None:
        super().__init__(text)
        self.text = text
        self.reason = reason
        self.delay = delay
        self.permanent = permanent
        self.detail = detail
