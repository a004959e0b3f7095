"""What staff need to answer 'where is my mail': deliveries, POP3 sessions, changes. Never edited."""

from datetime import timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone

from mailboxes.models.account import Role


class DeliveryRecord(models.Model):
    """One recipient of one message that came to a door: `code` is what the peer was told (RFC 5321, 3463)."""

    at = models.DateTimeField(db_index=True)
    mailbox = models.ForeignKey(
        "mailboxes.Mailbox", null=True, on_delete=models.SET_NULL, related_name="deliveries", db_index=False
    )
    recipient = models.CharField(max_length=320)
    sender = models.CharField(max_length=320, blank=True)
    octets = models.PositiveBigIntegerField(default=0)
    code = models.CharField(max_length=12)
    reason = models.CharField(max_length=200, blank=True)
    door = models.CharField(max_length=10)
    peer = models.CharField(max_length=64, blank=True)
    helo = models.CharField(max_length=255, blank=True)
    transaction = models.CharField(max_length=32, blank=True)
    message_id = models.CharField(max_length=255, blank=True)
    uidl = models.CharField(max_length=70, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["mailbox", "at"], name="delivery_of_mailbox"),
            models.Index(fields=["recipient", "at"], name="delivery_to_recipient"),
            models.Index(fields=["peer", "at"], name="delivery_from_peer"),
            # What was refused at RCPT has no Message-ID yet.
            models.Index(
                fields=["message_id"], condition=~models.Q(message_id=""), name="delivery_of_message_id"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.recipient}"


class SessionEnd(models.TextChoices):
    """How a POP3 session ended."""

    QUIT = "quit"
    DROPPED = "dropped"
    IDLE = "idle"
    REFUSED = "refused"
    UPDATE_FAILED = "update_failed"
    SHUTDOWN = "shutdown"
    TOO_MANY_ERRORS = "errors"
    TOO_LONG = "too_long"


class POP3Session(models.Model):
    """One POP3 connection that tried to log in. `octets` is what was sent of messages; `expunged`: what it
    deleted was removed for good, as the mailbox wanted it then."""

    session = models.CharField(max_length=32, unique=True)
    mailbox = models.ForeignKey(
        "mailboxes.Mailbox",
        null=True,
        on_delete=models.SET_NULL,
        related_name="pop3_sessions",
        db_index=False,
    )
    login = models.CharField(max_length=320)
    peer = models.CharField(max_length=64)
    tls = models.CharField(max_length=60, blank=True)
    program = models.CharField(max_length=80, blank=True)
    started_at = models.DateTimeField(db_index=True)
    ended_at = models.DateTimeField()
    fetched = models.PositiveIntegerField(default=0)
    tops = models.PositiveIntegerField(default=0)
    deleted = models.PositiveIntegerField(default=0)
    octets = models.PositiveBigIntegerField(default=0)
    recent = models.BooleanField(default=False)
    expunged = models.BooleanField(default=False)
    ended = models.CharField(max_length=15, choices=SessionEnd)
    reason = models.CharField(max_length=200, blank=True)

    class Meta:
        verbose_name = "POP3 session"
        indexes = [
            models.Index(fields=["mailbox", "started_at"], name="pop3_session_of_mailbox"),
            models.Index(fields=["login", "started_at"], name="pop3_session_of_login"),
            models.Index(fields=["peer", "started_at"], name="pop3_session_from_peer"),
        ]

    def __str__(self) -> str:
        return f"{self.login} {self.ended}"


class WebSessionEnd(models.TextChoices):
    """How a browser's session ended; a refused login is a record too."""

    LOGOUT = "logout"
    EXPIRED = "expired"
    ENDED = "ended"  # by its owner from another session, or by staff
    REPLACED = "replaced"  # by a change of password, status or service
    REFUSED = "refused"


class WebSession(models.Model):
    """One login in a browser, to webmail or console, or one that was refused (then `reason` says why).

    `session` is not the cookie's value, which is a secret: it is a name of its own, kept in the session."""

    session = models.CharField(max_length=32, unique=True)
    account = models.ForeignKey(
        "mailboxes.Account", null=True, on_delete=models.SET_NULL, related_name="web_sessions", db_index=False
    )
    login = models.CharField(max_length=320)
    peer = models.CharField(max_length=64)
    program = models.CharField(max_length=200, blank=True)
    second_factor = models.CharField(max_length=20, blank=True)
    started_at = models.DateTimeField(db_index=True)
    seen_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended = models.CharField(max_length=10, choices=WebSessionEnd, blank=True)
    reason = models.CharField(max_length=200, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["account", "started_at"], name="web_session_of_account"),
            models.Index(fields=["login", "started_at"], name="web_session_of_login"),
            models.Index(fields=["peer", "started_at"], name="web_session_from_peer"),
        ]

    def __str__(self) -> str:
        return f"{self.login} {self.ended or 'open'}"

    @property
    def is_open(self) -> bool:
        """It has not ended, and its time is not over."""
        return self.ended_at is None and not self.is_over

    @property
    def is_over(self) -> bool:
        """Its time is over: for staff a working day after it began, for others as their cookie's is."""
        now = timezone.now()
        if self.account is not None and self.account.role != Role.SUBSCRIBER:
            return now >= self.started_at + timedelta(hours=settings.STAFF_SESSION_HOURS)
        return now >= self.seen_at + timedelta(seconds=settings.SESSION_COOKIE_AGE)


class AuditEntry(models.Model):
    """One change made by staff, a command or a job: who, when, from where, before and after, why.

    Append-only: triggers in the database refuse UPDATE and DELETE. `domain` is the subject's, so that the
    administrator of a domain can read what was changed in it.
    """

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    actor = models.CharField(max_length=320)
    peer = models.CharField(max_length=64, blank=True)
    verb = models.CharField(max_length=40)
    subject = models.CharField(max_length=320)
    domain = models.CharField(max_length=255, blank=True)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    reason = models.CharField(max_length=300, blank=True)

    class Meta:
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["subject", "at"], name="audit_of_subject"),
            models.Index(fields=["domain", "id"], name="audit_of_domain"),
            models.Index(fields=["actor", "id"], name="audit_of_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.verb} {self.subject}"


class LoginThrottle(models.Model):
    """Wrong passwords for one login name from one network, whether or not there is such a login."""

    key = models.CharField(max_length=64, unique=True)
    failures = models.PositiveIntegerField(default=0)
    last_failure_at = models.DateTimeField(db_index=True)
    # The wrong guesses that were counted, as short keyed hashes: each of them counts once.
    guesses = models.CharField(max_length=120, blank=True)

    def __str__(self) -> str:
        return f"{self.failures} failures"
