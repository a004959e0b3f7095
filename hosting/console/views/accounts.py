"""Accounts: all of them, and one with everything that staff need on the telephone."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.http import HttpResponse, QueryDict
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from hosting.console.forms import BULK_ACTS, DayForm, QuotaForm, StatusForm
from hosting.console.pages import (
    asked_domain,
    here,
    own_domains,
    prefix_in,
    prefix_of,
    show,
)
from hosting.console.permissions import Act, StaffRequest, allowed
from hosting.templatetags.console_texts import ROLES, STATES
from mailboxes import directory, inspections, restoring, timeline, whereabouts
from mailboxes.accounts import SERVICES
from mailboxes.addresses import free_on
from mailboxes.audit import last_of
from mailboxes.exceptions import Invalid
from mailboxes.models import Account, Address, Domain, Mailbox, Target

ADDRESSES_SHOWN = 50
INSPECTIONS_SHOWN = 5
KINDS = (
    ("delivery", gettext_lazy("Deliveries")),
    ("refusal", gettext_lazy("Refusals")),
    ("session", gettext_lazy("POP3 sessions")),
    ("failed", gettext_lazy("Failed POP3 logins")),
    ("web", gettext_lazy("Webmail logins")),
    ("web_failed", gettext_lazy("Refused webmail logins")),
    ("restore", gettext_lazy("Restores")),
    ("change", gettext_lazy("Changes")),
)


@dataclass(frozen=True, slots=True)
class Narrowing:
    """Which accounts a list shows: of which domain, with which beginning, in which state."""

    domain: Domain | None = None
    prefix: str = ""
    status: str = ""

    @classmethod
    def read(cls, request: StaffRequest, given: QueryDict) -> "Narrowing":
        """Of an administrator's own domains always one: it is one index from one place on, however large the
        house is."""
        form = StatusForm(given)
        status = form.cleaned_data["status"] if form.is_valid() else ""
        return cls(asked_domain(request, given), prefix_in(given), status)

    @property
    def query(self) -> dict[str, str]:
        found = {"domain": self.domain.name if self.domain else "", "q": self.prefix, "status": self.status}
        return {name: value for name, value in found.items() if value}


@require_safe
@allowed(Act.LOOK_UP)
def accounts(request: StaffRequest) -> HttpResponse:
    narrowing, after = Narrowing.read(request, request.GET), prefix_of(request, "after")
    page = directory.accounts(
        request.staff.scope(),
        domain=narrowing.domain,
        prefix=narrowing.prefix,
        after=after,
        status=narrowing.status,
    )
    context = {
        "page": "accounts",
        "rows": page.rows,
        "prefix": narrowing.prefix,
        "domain": narrowing.domain,
        "status": narrowing.status,
        "states": STATES.items(),
        "own": own_domains(request),
        "acts": BULK_ACTS,
        "looking_on": bool(narrowing.status and page.next and len(page.rows) < directory.PAGE_SIZE),
        "older": here(request, after=page.next) if page.next else "",
    }
    return show(request, "accounts.html", context)


def judge_quota(request: StaffRequest, domain: Domain | None, octets: int) -> None:
    """A domain administrator gives what the house has agreed to, and no more. Invalid."""
    if request.staff.may(Act.SERVE_DOMAINS) or domain is None:
        return
    if octets > domain.default_quota_bytes:
        raise Invalid(_("that is more than a mailbox of this domain may have: ask your provider"))


def token_of_password(account: Account) -> str:
    """Stands in the form that makes a temporary password, and is good until the password is another: so
    what a reload sends again makes no second one behind the first, and nothing has to be remembered."""
    return salted_hmac("console.temporary_password", account.password).hexdigest()


@require_safe
@allowed(Act.LOOK_UP)
def account(request: StaffRequest, pk: int) -> HttpResponse:
    found = request.staff.account_at(pk)
    box: Mailbox | None = getattr(found, "mailbox", None)
    form = DayForm(request.GET)
    day = form.cleaned_data["day"] if form.is_valid() else None
    kind = request.GET.get("kind", "")
    before = timeline.Place.read(request.GET.get("before", "")[:60])
    events, older = timeline.timeline_of(found, box.pk if box else None, kind=kind, day=day, before=before)
    lying = _lying(request, found, box, events)
    forwarded_before, forward_reason = _forwarded_before(found)
    context = {
        "page": "accounts",
        "account": found,
        "box": box,
        "services": [(name, getattr(box, f"{name}_enabled")) for name in SERVICES] if box else [],
        "addresses": _addresses_of(box),
        "forwards": _forwards_of(found),
        "may_change": request.staff.may_change(found),
        "quota_form": QuotaForm(initial={"quota": box.quota_bytes}) if box else None,
        "gone_on": free_on(found.closed_at) if found.closed_at else None,
        "forwarded_before": forwarded_before,
        "forward_reason": forward_reason,
        "looked_into": inspections.of_mailbox(box.pk, INSPECTIONS_SHOWN) if box else [],
        "temporary": bool(found.password_until),
        "password_token": token_of_password(found),
        "role_choices": ROLES.items(),
        "administers": list(found.administers.order_by("name")[:ADDRESSES_SHOWN])
        if found.role == "domain_administrator"
        else [],
        "events": [
            (event, lying.get(event.record.uidl) if event.kind == "delivery" else None) for event in events
        ],
        "undoable": _undoable(box, events),
        "kinds": KINDS,
        "kind": kind,
        "day": day,
        "paged": before is not None,
        "older": here(request, before=older) if older else "",
    }
    return show(request, "account.html", context)


def _undoable(box: Mailbox | None, events: list[timeline.Event]) -> set[str]:
    """The POP3 sessions of this page whose deletions can be put back; one query for all of them."""
    deleting = [event.record.session for event in events if event.kind == "session" and event.record.deleted]
    return restoring.sessions_to_undo(box.pk, deleting) if box is not None else set()


def _lying(
    request: StaffRequest, found: Account, box: Mailbox | None, events: list[timeline.Event]
) -> Mapping[str, whereabouts.Whereabouts]:
    """Where the mail of this page lies now, for those who may see the mailbox's headers."""
    if box is None or not (request.staff.may(Act.SEE_FOLDERS) and request.staff.may_change(found)):
        return {}
    came = [event.record for event in events if event.kind == "delivery"]
    return whereabouts.of_deliveries(found, box, came)


def _addresses_of(box: Mailbox | None) -> list[Address]:
    if box is None:
        return []
    found = Address.objects.filter(targets__mailbox=box).exclude(kind="primary")
    return list(found.order_by("name")[:ADDRESSES_SHOWN])


def _forwards_of(found: Account) -> list[str]:
    targets = Target.objects.filter(address__name=found.login, mailbox=None)
    return list(targets.values_list("forward_to", flat=True))


def _forwarded_before(found: Account) -> tuple[str, str]:
    """Where a copy of the mail went before the last change of that, for whoever wants it undone, and why it
    was changed."""
    last = last_of("set_forward", found.login)
    was = [str(one) for one in last.before.get("forward", [])] if last is not None else []
    if last is None or not was or was == _forwards_of(found):
        return "", ""
    return " ".join(was), last.reason
