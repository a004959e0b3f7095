"""The records of the store, one module per noun."""

from mailboxes.models.account import Account, NameWord, Role, Status
from mailboxes.models.address import Address, AddressKind, Target
from mailboxes.models.change import Change, ChangePart
from mailboxes.models.content import Content
from mailboxes.models.count import HourlyCount, LargeMailbox
from mailboxes.models.domain import Domain
from mailboxes.models.errand import Errand, ErrandKind, ErrandState
from mailboxes.models.mailbox import Folder, FolderKind, Mailbox, POP3Delete
from mailboxes.models.message import Forwarding, ImportedMessage, Message
from mailboxes.models.oversight import ForwardNotice, Inspection, TrustedSender
from mailboxes.models.process import ProcessBeat
from mailboxes.models.records import (
    AuditEntry,
    DeliveryRecord,
    LoginThrottle,
    POP3Session,
    SessionEnd,
    WebSession,
    WebSessionEnd,
)
from mailboxes.models.search import IndexJob, SearchEntry, SearchText
from mailboxes.models.secondfactor import AppPassword, Passkey, RecoveryCode, TOTPDevice
from mailboxes.models.thread import ThreadKey

__all__ = [
    "Account",
    "Address",
    "AddressKind",
    "AppPassword",
    "AuditEntry",
    "Change",
    "ChangePart",
    "Content",
    "DeliveryRecord",
    "Domain",
    "Errand",
    "ErrandKind",
    "ErrandState",
    "Folder",
    "FolderKind",
    "ForwardNotice",
    "Forwarding",
    "HourlyCount",
    "ImportedMessage",
    "IndexJob",
    "Inspection",
    "LargeMailbox",
    "LoginThrottle",
    "Mailbox",
    "Message",
    "NameWord",
    "POP3Delete",
    "POP3Session",
    "Passkey",
    "ProcessBeat",
    "RecoveryCode",
    "Role",
    "SearchEntry",
    "SearchText",
    "SessionEnd",
    "Status",
    "TOTPDevice",
    "Target",
    "ThreadKey",
    "TrustedSender",
    "WebSession",
    "WebSessionEnd",
]
