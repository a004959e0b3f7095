"""A subscriber's own folders: made, renamed, and removed when they are empty."""

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from mailboxes.exceptions import Invalid
from mailboxes.models import Folder, FolderKind, Mailbox
from mailboxes.models.mailbox import FOLDER_TITLES

NAME_MAX = 100
# More than any list of folders can be read; each is counted and shown on every page.
FOLDERS_MAX = 200


def create_folder(mailbox: int, name: str) -> Folder:
    """Make a folder of one's own. Invalid: no name, taken, or too many."""
    name = _judged(name)
    with transaction.atomic():
        Mailbox.objects.select_for_update().filter(pk=mailbox).first()
        _refuse_taken(mailbox, name)
        if Folder.objects.filter(mailbox=mailbox, kind=FolderKind.OWN).count() >= FOLDERS_MAX:
            raise Invalid(_("%(most)s folders of your own are the most") % {"most": FOLDERS_MAX})
        folder = Folder.objects.create(mailbox_id=mailbox, kind=FolderKind.OWN, name=name)
        _raise_version(mailbox)
    return folder


def rename_folder(mailbox: int, folder: int, name: str) -> None:
    """Give an own folder another name. Invalid: not an own folder, no name, or taken."""
    name = _judged(name)
    with transaction.atomic():
        Mailbox.objects.select_for_update().filter(pk=mailbox).first()
        _refuse_taken(mailbox, name, but=folder)
        if not Folder.objects.filter(mailbox=mailbox, pk=folder, kind=FolderKind.OWN).update(name=name):
            raise Invalid(_("there is no such folder"))
        _raise_version(mailbox)


def remove_folder(mailbox: int, folder: int) -> None:
    """Remove an own folder that is empty. Invalid: not an own folder, or mail lies in it."""
    own = Folder.objects.filter(mailbox=mailbox, pk=folder, kind=FolderKind.OWN)
    with transaction.atomic():
        Mailbox.objects.select_for_update().filter(pk=mailbox).first()
        if not own.exists():
            raise Invalid(_("there is no such folder"))
        if not own.filter(message_count=0).delete()[0]:
            raise Invalid(_("the folder is not empty: move its mail elsewhere first"))
        _raise_version(mailbox)


def _judged(name: str) -> str:
    name = " ".join(name.split())
    if not name or not name.isprintable():
        raise Invalid(_("a folder needs a name of letters"))
    if len(name) > NAME_MAX:
        raise Invalid(
            _("the name has %(count)s characters: %(most)s have room")
            % {"count": len(name), "most": NAME_MAX}
        )
    return name


def _refuse_taken(mailbox: int, name: str, but: int = 0) -> None:
    names = Folder.objects.filter(mailbox=mailbox).exclude(pk=but).values_list("name", flat=True)
    # Those that everybody has are shown by their titles, which no other may look like.
    if name.casefold() in {other.casefold() for other in (*names, *map(str, FOLDER_TITLES.values()))}:
        raise Invalid(_("there is a folder %(name)s already") % {"name": name})


def _raise_version(mailbox: int) -> None:
    Mailbox.objects.filter(pk=mailbox).update(version=F("version") + 1)
