"""What staff fill in. A form says what was meant; whether it can be is the store's to say."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from mailboxes import inspections
from mailboxes.accounts import REASON_MAX
from mailboxes.models import Domain, Role, Status
from mailboxes.sizes import octets_from, size_text

# The largest file of a list that is read: 2,000 lines of the longest kind.
ROSTER_OCTETS_MAX = 2_000_000
QUOTA_MAX = 2**53
SIZE_MAX = 20  # characters: '1048576' or '512 KiB', not a novel


class SizeField(forms.CharField):
    """Octets, written as people write sizes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(widget=forms.TextInput(attrs={"maxlength": SIZE_MAX}), **options)

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return None
        if len(text) > SIZE_MAX:
            raise forms.ValidationError(_("That is no size."))
        try:
            octets = octets_from(text)
        except ValueError:
            raise forms.ValidationError(_("Say a size in octets or as 512K, 50M, 2G.")) from None
        if octets > QUOTA_MAX:
            raise forms.ValidationError(_("That is more than can be stored."))
        return octets

    def prepare_value(self, value: Any) -> Any:
        return size_text(value).replace(" ", "") if isinstance(value, int) else value


class DomainForm(forms.Form):
    name = forms.CharField(label=_("Domain"), max_length=255, help_text=_("Such as example.org."))
    default_quota = SizeField(
        label=_("Quota of a new mailbox"),
        required=False,
        help_text=_("Such as 2G; empty: the house's default."),
    )


class AccountForm(forms.Form):
    login = forms.CharField(
        label=_("Address"),
        max_length=320,
        help_text=_("It is the login name too. The domain must be served here."),
    )
    name = forms.CharField(label=_("Name of the person"), max_length=200, required=False)
    quota = SizeField(
        label=_("Quota"), required=False, help_text=_("Such as 2G; empty: the domain's default.")
    )


class ReachesForm(forms.Form):
    reaches = forms.CharField(
        label=_("Reaches"),
        widget=forms.Textarea(attrs={"rows": 5}),
        max_length=350_000,
        help_text=_("Accounts here or addresses elsewhere, one a line; several make a list."),
    )

    def clean_reaches(self) -> list[str]:
        return [line.strip() for line in self.cleaned_data["reaches"].splitlines() if line.strip()]


class AddressForm(ReachesForm):
    name = forms.CharField(label=_("Address"), max_length=320)
    field_order = ("name", "reaches")


class QuotaForm(forms.Form):
    quota = SizeField(label=_("Quota"))
    reason = forms.CharField(max_length=REASON_MAX, required=False)


class DefaultQuotaForm(forms.Form):
    default_quota = SizeField(label=_("Quota of a new mailbox"))


class ReasonForm(forms.Form):
    reason = forms.CharField(max_length=REASON_MAX, error_messages={"required": _("Say why.")})


class WhereToForm(forms.Form):
    """Where mail goes from now on, and why; switching it off needs a reason."""

    to = forms.CharField(max_length=320, required=False)
    reason = forms.CharField(max_length=REASON_MAX, required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("to") == "" and cleaned.get("reason") == "":
            self.add_error("reason", _("Say why."))
        return cleaned


class ServiceForm(forms.Form):
    service = forms.CharField(max_length=20)
    reason = forms.CharField(max_length=REASON_MAX, required=False)


class InspectionForm(forms.Form):
    """A reason that its reader understands: one word is none."""

    reason = forms.CharField(
        max_length=REASON_MAX,
        min_length=inspections.REASON_MIN,
        error_messages={
            "required": _("Say why: the subscriber reads it."),
            "min_length": _("Say a little more: the subscriber reads it."),
        },
    )


BULK_ACTS = (
    ("suspend", _("Suspend")),
    ("restore", _("Restore: end a suspension or undo a closing")),
    ("close", _("Close")),
    ("end_sessions", _("End sessions")),
    ("quota", _("Change the quota")),
    ("pop3_off", _("Switch POP3 off")),
    ("pop3_on", _("Switch POP3 on")),
    ("webmail_off", _("Switch the webmail off")),
    ("webmail_on", _("Switch the webmail on")),
    ("sending_off", _("Switch sending off")),
    ("sending_on", _("Switch sending on")),
    ("receiving_off", _("Switch receiving off")),
    ("receiving_on", _("Switch receiving on")),
)


class BulkForm(forms.Form):
    """One change to many accounts, for one reason."""

    act = forms.ChoiceField(label=_("What"), choices=BULK_ACTS)
    quota = SizeField(label=_("New quota"), required=False, help_text=_("Such as 2G."))
    reason = forms.CharField(
        label=_("Reason"), max_length=REASON_MAX, error_messages={"required": _("Say why.")}
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("act") == "quota" and cleaned.get("quota") is None and "quota" not in self.errors:
            self.add_error("quota", _("Say how much."))
        return cleaned


class AddressBulkForm(forms.Form):
    """One change to many addresses, for one reason."""

    act = forms.ChoiceField(label=_("What"), choices=BULK_ACTS[:3])
    reason = forms.CharField(
        label=_("Reason"), max_length=REASON_MAX, error_messages={"required": _("Say why.")}
    )


class StatusForm(forms.Form):
    """Which accounts of a list are shown."""

    status = forms.ChoiceField(choices=[("", ""), *Status.choices], required=False)


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)
    administers = forms.CharField(
        label=_("Own domains"), required=False, help_text=_("Of a domain administrator, with spaces between.")
    )
    reason = forms.CharField(max_length=REASON_MAX, required=False)

    def clean_administers(self) -> list[Domain]:
        names = self.cleaned_data["administers"].lower().replace(",", " ").split()
        found = list(Domain.objects.filter(name__in=names))
        if missing := set(names) - {domain.name for domain in found}:
            raise forms.ValidationError(
                _("Not served here: %(names)s."), params={"names": ", ".join(sorted(missing))}
            )
        return found


class SinceForm(forms.Form):
    since = forms.DateTimeField(
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"]
    )


class RosterForm(forms.Form):
    file = forms.FileField(label=_("A CSV file"), required=False)
    text = forms.CharField(label=_("or its text"), required=False, strip=False, widget=forms.Textarea)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        file = cleaned.get("file")
        if file is not None:
            if file.size > ROSTER_OCTETS_MAX:
                raise forms.ValidationError(_("The file is too large: cut it in parts."))
            try:
                cleaned["text"] = file.read().decode("utf-8-sig")
            except UnicodeDecodeError:
                raise forms.ValidationError(_("The file is not UTF-8: save it as “CSV UTF-8”.")) from None
        if not cleaned.get("text", "").strip():
            raise forms.ValidationError(_("Choose a file, or paste its text."))
        return cleaned


class AuditForm(forms.Form):
    """What the audit is searched for; every part may be empty."""

    subject = forms.CharField(label=_("Account, address or domain"), required=False, max_length=320)
    actor = forms.CharField(label=_("By"), required=False, max_length=320)
    since = forms.DateField(label=_("From"), required=False)
    until = forms.DateField(label=_("To"), required=False)


class DayForm(forms.Form):
    day = forms.DateField(required=False)
