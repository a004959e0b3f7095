"""What a subscriber fills in."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext_lazy as _

from mailboxes.credentials import PASSWORD_MAX
from mailboxes.models import Account, Folder, FolderKind, POP3Delete
from mailboxes.sizes import size_text
from webmail.pop3_client import PORTS

# RFC 1035 section 2.3.4.
HOST_MAX = 253


class PasswordForm(forms.Form):
    old_password = forms.CharField(
        label=_("Current password"),
        strip=False,
        max_length=PASSWORD_MAX,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
    new_password = forms.CharField(
        label=_("New password"),
        strip=False,
        max_length=PASSWORD_MAX,
        help_text=_("Ten characters or more."),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    again = forms.CharField(
        label=_("New password again"),
        strip=False,
        max_length=PASSWORD_MAX,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, account: Account, *args: Any, **kwargs: Any) -> None:
        self.account = account
        super().__init__(*args, **kwargs)

    def clean_new_password(self) -> str:
        password: str = self.cleaned_data["new_password"]
        validate_password(password, self.account)
        return password

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "new_password" in cleaned and cleaned.get("again") != cleaned["new_password"]:
            self.add_error("again", _("This is not the same as the new password."))
        # Whoever gave a temporary password has seen it.
        if cleaned.get("new_password") and cleaned["new_password"] == cleaned.get("old_password"):
            self.add_error("new_password", _("This is your password now. Choose another."))
        return cleaned


class POP3DeleteForm(forms.Form):
    pop3_delete = forms.ChoiceField(
        label=_("When a mail program deletes a message"),
        choices=[
            (POP3Delete.TRASH, _("move it to trash, from where I can restore it")),
            (POP3Delete.ARCHIVE, _("move it to the archive and keep it")),
            (POP3Delete.EXPUNGE, _("remove it for good at once")),
        ],
        widget=forms.RadioSelect,
    )


class ExportForm(forms.Form):
    """Which folder, by its number; empty: all of them."""

    folder = forms.TypedChoiceField(label=_("Folder"), required=False, coerce=int, empty_value=None)

    def __init__(self, folders: Sequence[Folder], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(folder.pk, folder.title) for folder in folders if folder.message_count]
        self.fields["folder"].choices = [("", _("All folders")), *choices]  # type: ignore[attr-defined]


class SeveralFiles(forms.ClearableFileInput):
    allow_multiple_selected = True


class FilesField(forms.FileField):
    """Several files (Django has a field for one)."""

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile]:
        files = data if isinstance(data, list | tuple) else [data]
        return [super(FilesField, self).clean(file, initial) for file in files or [None]]


class ImportForm(forms.Form):
    files = FilesField(  # type: ignore[assignment]  # BaseForm has an attribute of that name, too
        label=_("Files"),
        allow_empty_file=True,
        widget=SeveralFiles(attrs={"accept": ".mbox,.mbx,.eml,.zip,message/rfc822,application/mbox"}),
        error_messages={"required": _("Choose one or several files.")},
    )
    folder = forms.TypedChoiceField(label=_("Into the folder"), coerce=int)
    seen = forms.BooleanField(label=_("Mark all as read"), required=False)

    def __init__(self, folders: Sequence[Folder], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = [
            (one.pk, one.title) for one in folders if one.kind not in (FolderKind.SENT, FolderKind.DRAFTS)
        ]
        self.fields["folder"].choices = names  # type: ignore[attr-defined]
        most = size_text(settings.IMPORT_SIZE_LIMIT)
        self.fields["files"].help_text = _(
            "Files with mail: .mbox, .eml, or a .zip of them. Together at most %(most)s."
        ) % {"most": most}


class FetchForm(forms.Form):
    host = forms.CharField(
        label=_("Server"),
        max_length=HOST_MAX,
        help_text=_("Such as pop.example.org; your old provider tells it."),
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
    )
    security = forms.ChoiceField(
        label=_("Security"),
        choices=[
            ("tls", _("SSL/TLS, port 995")),
            ("starttls", _("STARTTLS, port 110")),
            ("none", _("none, port 110: your password can be read on its way")),
        ],
    )
    port = forms.IntegerField(
        label=_("Port"),
        required=False,
        min_value=1,
        max_value=65535,
        help_text=_("Empty: the usual one."),
    )
    user = forms.CharField(
        label=_("User name there"),
        max_length=255,
        help_text=_("Often the whole address."),
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
    )
    password = forms.CharField(
        label=_("Password there"),
        max_length=255,
        strip=False,
        help_text=_("It is kept encrypted, and forgotten when the work is done."),
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )
    seen = forms.BooleanField(label=_("Mark all as read"), required=False)
    delete = forms.BooleanField(label=_("Remove from that server what was fetched"), required=False)

    def clean_host(self) -> str:
        host: str = self.cleaned_data["host"].rstrip(".").lower()
        try:
            named = host.encode("idna").decode("ascii")
        except UnicodeError:
            named = ""
        if not named or any(c in named for c in " /:@[]") or not named.isprintable():
            raise forms.ValidationError(_("This is not the name of a server."))
        return named

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "security" in cleaned and not cleaned.get("port"):
            cleaned["port"] = PORTS[cleaned["security"]]
        own = settings.FETCH_PRIVATE_NETWORKS
        if "port" in cleaned and cleaned["port"] not in PORTS.values() and not own:
            self.add_error("port", _("Servers for POP3 answer on port 995 or 110."))
        return cleaned
