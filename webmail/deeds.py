"""Says what a subscriber has done to messages, or has asked for, in the reader's language."""

from django.utils.translation import gettext as _
from django.utils.translation import ngettext


def said(verb: str, count: int, to: str = "") -> str:
    """What was done to so many messages; `to`: the folder to which they were moved."""
    texts = {
        "move": ngettext("%(n)d message moved to %(to)s.", "%(n)d messages moved to %(to)s.", count),
        "seen": ngettext("%(n)d message marked as read.", "%(n)d messages marked as read.", count),
        "unseen": ngettext("%(n)d message marked as unread.", "%(n)d messages marked as unread.", count),
        "star": ngettext("%(n)d message starred.", "%(n)d messages starred.", count),
        "unstar": ngettext("Star taken off %(n)d message.", "Star taken off %(n)d messages.", count),
        "archive": ngettext("%(n)d message archived.", "%(n)d messages archived.", count),
        "junk": ngettext("%(n)d message moved to junk.", "%(n)d messages moved to junk.", count),
        "trash": ngettext("%(n)d message moved to trash.", "%(n)d messages moved to trash.", count),
        "restore": ngettext("%(n)d message put back.", "%(n)d messages put back.", count),
        "restore_session": ngettext("%(n)d message restored.", "%(n)d messages restored.", count),
        "expunge": ngettext("%(n)d message removed for good.", "%(n)d messages removed for good.", count),
        "undo": ngettext("Undone: %(n)d message.", "Undone: %(n)d messages.", count),
    }
    return texts[verb] % {"n": count, "to": to}


def title(verb: str, of: str, to: str = "") -> str:
    """An act on many messages, as it is listed while it is done; `of`: on which."""
    named = {
        "move": _("Move to %(to)s") % {"to": to},
        "seen": _("Mark as read"),
        "unseen": _("Mark as unread"),
        "star": _("Star"),
        "unstar": _("Take the star off"),
        "archive": _("Archive"),
        "junk": _("Junk"),
        "trash": _("Move to trash"),
        "restore": _("Restore"),
        "restore_session": _("Restore"),
        "expunge": _("Remove for good"),
        "undo": _("Undo"),
    }
    return f"{named[verb]}: {of}"
