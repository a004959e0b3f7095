"""What Postfix asks of the store before it takes a message, each map a plain function that a thread may run.

domains     is mail for this domain taken here?              -> virtual_mailbox_domains
recipients  does this address reach anything?                -> virtual_mailbox_maps
access      is it to be refused in words of our own, for now or for good? -> check_recipient_access

Postfix asks for parts of an address, too (`@example.test`, `example.test`): those are not found.
"""

from collections.abc import Callable, Mapping

from mailboxes.addresses import normalise_domain, resolve
from mailboxes.exceptions import ClosedDomain, ForeignDomain, Invalid, RecipientUnavailable, UnknownRecipient
from mailboxes.models import Domain
from smtpd import replies
from smtpd.replies import Reply
from smtpd.socketmap import Answer, Result

# What is found has no value that Postfix would use: mail goes to our LMTP door whatever it is.
FOUND = Answer(Result.OK, "here")
NOT_FOUND = Answer(Result.NOTFOUND)
# Whatever goes wrong here is our fault: the sender's server tries again, and nothing bounces (invariant 8).
UNAVAILABLE = Answer(Result.TEMP, "the store does not answer, try again later")
TOO_MANY = Answer(Result.TEMP, "too many connections, try again later")
NO_SUCH_MAP = Answer(Result.PERM, "no such map: there are domains, recipients and access")


def look_up(name: str, key: str) -> Answer:
    """Answer one request. Any error of database or storage is for the caller to turn into UNAVAILABLE."""
    return MAPS[name](key) if name in MAPS else NO_SUCH_MAP


def domain(key: str) -> Answer:
    try:
        name = normalise_domain(key)
    except Invalid:
        return NOT_FOUND
    return FOUND if Domain.objects.filter(name=name).exists() else NOT_FOUND


def recipient(key: str) -> Answer:
    try:
        resolve(key)
    except (UnknownRecipient, ForeignDomain):
        return NOT_FOUND
    except (ClosedDomain, RecipientUnavailable):
        return FOUND  # there is such a mailbox; `access` says what is the matter with it
    return FOUND


def access(key: str) -> Answer:
    try:
        resolve(key)
    except ClosedDomain:
        return _refusal(replies.DOMAIN_CLOSED)
    except RecipientUnavailable:
        return _refusal(replies.MAILBOX_SUSPENDED)
    except (UnknownRecipient, ForeignDomain):
        return NOT_FOUND
    return NOT_FOUND


def _refusal(reply: Reply) -> Answer:
    return Answer(Result.OK, f"{reply.code} {reply.enhanced} {reply.text}")


MAPS: Mapping[str, Callable[[str], Answer]] = {"domains": domain, "recipients": recipient, "access": access}
