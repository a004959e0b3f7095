"""Account: who logs in."""

from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models


class Role(models.TextChoices):
    SUBSCRIBER = "subscriber"
    SUPPORT = "support"
    DOMAIN_ADMINISTRATOR = "domain_administrator"
    OPERATOR = "operator"


class Status(models.TextChoices):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class AccountManager(models.Manager["Account"]):
    def get_by_natural_key(self, login: str) -> "Account":
        return self.get(login=login)


class Account(AbstractBaseUser):
    """The login name is the address. `credential_version` rises with every change of password, status or
    service, so that whatever was verified before counts no longer."""

    login = models.CharField(max_length=320, unique=True)
    name = models.CharField(max_length=200, blank=True)
    domain = models.ForeignKey(
        "mailboxes.Domain", null=True, blank=True, on_delete=models.PROTECT, related_name="accounts"
    )
    role = models.CharField(max_length=20, choices=Role, default=Role.SUBSCRIBER)
    # A domain administrator's own domains.
    administers = models.ManyToManyField(
        "mailboxes.Domain", blank=True, related_name="administrators", db_table="mailboxes_administration"
    )
    status = models.CharField(max_length=10, choices=Status, default=Status.ACTIVE)
    status_reason = models.CharField(max_length=300, blank=True)
    credential_version = models.PositiveIntegerField(default=1)
    # Until when a temporary password is good; null: the password is its owner's own.
    password_until = models.DateTimeField(null=True, blank=True)
    # The language of pages and letters to this account; empty: what the browser asks for.
    language = models.CharField(max_length=5, blank=True)
    # Set while a confirmed TOTP device or a passkey is there, so that login needs no further look.
    second_factor = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    USERNAME_FIELD = "login"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects: ClassVar[AccountManager] = AccountManager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~models.Q(login=""), name="account_has_a_login"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="account_role_is_known"),
            models.CheckConstraint(
                condition=models.Q(status__in=Status.values), name="account_status_is_known"
            ),
            models.CheckConstraint(
                condition=models.Q(status=Status.CLOSED, closed_at__isnull=False)
                | (~models.Q(status=Status.CLOSED) & models.Q(closed_at__isnull=True)),
                name="account_closed_has_its_time",
            ),
        ]
        indexes = [
            # The few among a million that are to be purged.
            models.Index(
                fields=["closed_at"], condition=models.Q(closed_at__isnull=False), name="account_closed"
            ),
        ]

    def __str__(self) -> str:
        return self.login

    @property
    def is_active(self) -> bool:  # type: ignore[override]  # Django's name for 'may log in'
        return self.status == Status.ACTIVE


class NameWord(models.Model):
    """A word of an account's name as search compares it. Indexes of prefixes: migration 0013."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="name_words", db_index=False)
    # The account's, so that a domain administrator's search reads nothing of other domains.
    domain = models.ForeignKey(
        "mailboxes.Domain", null=True, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    word = models.CharField(max_length=40)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "word"], name="name_word_is_named_once"),
        ]

    def __str__(self) -> str:
        return self.word
