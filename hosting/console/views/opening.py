"""A new account: in a domain that is known already where one comes from there, and if it cannot be, what to
do instead."""

from urllib.parse import urlencode

from django.http import HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods

from hosting.console.forms import AccountForm
from hosting.console.pages import asked_domain, own_domains, sentence, show, show_form
from hosting.console.permissions import Act, StaffRequest, allowed
from hosting.console.views.accounts import judge_quota
from mailboxes.accounts import generate_password, open_account
from mailboxes.addresses import domain_of, free_on, normalise, why_taken
from mailboxes.audit import last_of
from mailboxes.exceptions import Invalid
from mailboxes.models import Account, Address, Domain


@sensitive_variables("password")
@require_http_methods(["GET", "HEAD", "POST"])
@allowed(Act.OPEN)
def create(request: StaffRequest) -> HttpResponse:
    domain = _home(request)
    form = AccountForm(request.POST or None, initial={"login": request.GET.get("login", "")})
    if domain is not None:
        form.fields["login"].help_text = _(
            "It is the login name too. One word means an address in %(name)s."
        ) % {"name": domain.name}
    if request.method == "POST" and form.is_valid():
        password, login = generate_password(), _completed(form.cleaned_data["login"], domain)
        try:
            made = _open(request, form.cleaned_data | {"login": login}, password)
        except Invalid as why:
            form.add_error("login", _what_instead(request, login) or sentence(why))
        else:
            context = {"page": "accounts", "account": made, "password": password, "new": True}
            return show(request, "password.html", context)
    title = _("A new account in %(name)s") % {"name": domain.name} if domain else _("A new account")
    return show_form(request, "accounts", form, title, _("Open the account"))


def _home(request: StaffRequest) -> Domain | None:
    """The domain that was named on the way here, or the only one that an administrator has."""
    own = own_domains(request)
    return asked_domain(request, request.GET) if "domain" in request.GET or len(own) == 1 else None


def _completed(login: str, domain: Domain | None) -> str:
    return login if "@" in login or domain is None else f"{login.strip()}@{domain.name}"


def _open(request: StaffRequest, values: dict[str, object], password: str) -> Account:
    """Invalid, also for a domain that is another's, in the words of one that is not served."""
    login = normalise(str(values["login"]))
    names = request.staff.domain_names(Act.OPEN)
    domain_name = login.rpartition("@")[2]
    if names is not None and domain_name not in names:
        raise Invalid(_("the domain %(domain)s is not yours") % {"domain": domain_name})
    quota = values["quota"]
    if isinstance(quota, int):
        judge_quota(request, domain_of(login), quota)
    return open_account(
        login,
        password,
        quota=quota if isinstance(quota, int) else None,
        name=str(values["name"]),
        actor=request.staff.actor,
    )


def _what_instead(request: StaffRequest, login: str) -> str:
    """What stands in the way, and the way on from there, if it is something that this person can see."""
    try:
        name = normalise(login)
    except Invalid:
        return ""
    domain = name.rpartition("@")[2]
    if request.staff.may(Act.SERVE_DOMAINS) and not Domain.objects.filter(name=domain).exists():
        said = _("The domain %(domain)s is not served here.") % {"domain": domain}
        return _leading(said, _way("create_domain", name=domain), _("Serve it first"))
    scope = request.staff.scope()
    seen = Account.objects.all() if scope is None else Account.objects.filter(domain__in=scope)
    there = seen.filter(login=name).first()
    if there is not None:
        url = reverse("console:account", args=[there.pk])
        return _leading(_of_account(request, there), url, _("To the account"))
    known = Address.objects.all() if scope is None else Address.objects.filter(domain__in=scope)
    address = known.filter(name=name).first()
    if address is not None:
        said = _("%(name)s is an address already, which reaches somebody.") % {"name": name}
        said = sentence(why_taken(name)) if address.closed_at is not None else said
        return _leading(said, _way("addresses", q=name, domain=domain), _("To the address"))
    return ""


def _of_account(request: StaffRequest, there: Account) -> str:
    if there.closed_at is not None:
        said = _("%(login)s is closed, and its name is not given again before %(day)s. It can be restored.")
        return said % {"login": there.login, "day": f"{free_on(there.closed_at):%Y-%m-%d}"}
    last = last_of("open_account", there.login)
    if last is not None and last.actor == request.staff.account.login:
        # A form that came twice, such as by a reload: its password was on the first page.
        said = _("%(login)s exists already: you opened it, and its password was shown already.")
    else:
        said = _("%(login)s exists already.")
    return said % {"login": there.login}


def _way(page: str, **query: str) -> str:
    return f"{reverse(f'console:{page}')}?{urlencode(query)}"


def _leading(said: str, url: str, text: str) -> str:
    return format_html('{} <a href="{}">{}</a>', said, url, text)
