"""What every page of the console is made of: its frame, notices, and where its lists go on."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages as notices
from django.forms import Form
from django.http import HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from hosting.console.permissions import Act, StaffRequest
from mailboxes.bulk import Outcome
from mailboxes.exceptions import Invalid
from mailboxes.models import Domain

# Where the menu leads, and what one must be allowed to do to see the entry.
MENU = (
    ("home", _("Overview"), None),
    ("accounts", _("Accounts"), Act.LOOK_UP),
    ("addresses", _("Addresses"), Act.LOOK_UP),
    ("domains", _("Domains"), Act.LOOK_UP),
    ("audit", _("Audit"), Act.READ_AUDIT),
    ("roles", _("Roles"), None),
)
PREFIX_MAX = 320


def show(
    request: StaffRequest, template: str, context: dict[str, Any] | None = None, *, status: int = 200
) -> HttpResponse:
    """A page in the console's frame, or a part of one. `may` in a template: `{% if may.CHANGE %}`."""
    staff = request.staff
    frame = {
        "staff": staff.account,
        "menu": [
            (name, text, reverse(f"console:{name}"))
            for name, text, act in MENU
            if act is None or staff.may(act)
        ],
        "may": {act.name: staff.may(act) for act in Act},
    }
    where = template if "/" in template else f"console/{template}"
    return render(request, where, frame | (context or {}), status=status)


def back(name: str, *args: object) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse(f"console:{name}", args=args))


def back_to_list(request: StaffRequest, name: str, q: str) -> HttpResponseRedirect:
    """To a list that begins with what was changed; an administrator's list is of that name's domain."""
    domain = q.rpartition("@")[2] if request.staff.scope() is not None else ""
    query = {"domain": domain, "q": q} if domain else {"q": q}
    return HttpResponseRedirect(f"{reverse(f'console:{name}')}?{urlencode(query)}")


def list_way(request: StaffRequest, name: str, q: str) -> str:
    """To a list as it was narrowed when a form on it was sent."""
    query = {name: value for name, value in (("domain", request.POST.get("domain", "")), ("q", q)) if value}
    return reverse(f"console:{name}") + (f"?{urlencode(query)}" if query else "")


def asked_domain(request: StaffRequest, given: QueryDict) -> Domain | None:
    """The domain whose accounts or addresses are asked for, if any; of an administrator always one of theirs.

    One that is another's is taken for one that is not served: nobody shall learn which are.
    """
    scope = request.staff.scope()
    served = Domain.objects.all() if scope is None else Domain.objects.filter(pk__in=scope)
    name = given.get("domain", "").lower()[:255]
    # PostgreSQL refuses a NUL, in a question too.
    found = served.filter(name=name).first() if name.isprintable() else None
    return found if found is not None or scope is None else served.order_by("name").first()


def own_domains(request: StaffRequest) -> list[Domain]:
    """The domains of an administrator; none for those who may see all."""
    scope = request.staff.scope()
    return [] if scope is None else list(Domain.objects.filter(pk__in=scope).order_by("name"))


def show_form(request: StaffRequest, page: str, form: Form, title: str, button: str) -> HttpResponse:
    """A form on a page of its own, for the first time or with what is wrong in it."""
    context = {"page": page, "form": form, "title": title, "button": button}
    return show(request, "form.html", context, status=422 if form.is_bound else 200)


def attempt(request: StaffRequest, verb: Callable[[], object], said: str) -> bool:
    """Do something and say so; what the store refuses is said instead."""
    try:
        verb()
    except Invalid as why:
        notices.error(request, sentence(why))
        return False
    notices.success(request, said)
    return True


def attempt_form(
    request: StaffRequest, form: Form, verb: Callable[[dict[str, Any]], object], said: str
) -> bool:
    """The same with what a form says, if it says anything sensible."""
    if not form.is_valid():
        notices.error(request, " ".join(str(text) for texts in form.errors.values() for text in texts))
        return False
    return attempt(request, lambda: verb(form.cleaned_data), said)


def tell(request: StaffRequest, outcome: Outcome) -> None:
    """What came of one change to many: how many were changed, and of those that were not why."""
    if outcome.changed:
        text = ngettext("%(n)d is changed.", "%(n)d are changed.", outcome.changed)
        notices.success(request, text % {"n": outcome.changed})
    if outcome.left:
        text = ngettext("%(n)d is left as it was.", "%(n)d are left as they were.", outcome.left)
        whys = " ".join(f"{login}: {sentence(why)}" for login, why in outcome.told[:3])
        notices.warning(request, f"{text % {'n': outcome.left}} {whys}")


def sentence(why: object) -> str:
    text = str(why)
    return f"{text[:1].upper()}{text[1:]}."


def prefix_of(request: StaffRequest, name: str = "q") -> str:
    """The beginning of a name that is looked for, as names are written: in small letters."""
    return prefix_in(request.GET, name)


def prefix_in(given: QueryDict, name: str = "q") -> str:
    text = given.get(name, "").strip().lower()[:PREFIX_MAX]
    return text if text.isprintable() else ""


def here(request: StaffRequest, **changed: object) -> str:
    """This page with some of its query changed; '' leaves a part out."""
    query = {name: value for name, value in request.GET.items() if value}
    query |= {name: str(value) for name, value in changed.items()}
    return "?" + urlencode({name: value for name, value in query.items() if value})
