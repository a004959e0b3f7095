"""What an account proves itself with beside its password, and the passwords of its mail programs."""

from django.db import models


class TOTPDevice(models.Model):
    """An authenticator program (RFC 6238). `secret` is encrypted. `last_step` is the last time step whose
    code was taken, so that no code is taken twice. It counts only once `confirmed_at` is set."""

    account = models.OneToOneField("mailboxes.Account", on_delete=models.CASCADE, related_name="totp")
    secret = models.CharField(max_length=300)
    last_step = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    confirmed_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"authenticator of account {self.account_id}"


class Passkey(models.Model):
    """A WebAuthn credential. `credential` is its id, `public_key` its COSE key, as the browser gave them."""

    account = models.ForeignKey("mailboxes.Account", on_delete=models.CASCADE, related_name="passkeys")
    name = models.CharField(max_length=60)
    # base64url without padding; WebAuthn section 5.8.3 bounds an id at 1,023 octets.
    credential = models.CharField(max_length=1400, unique=True)
    public_key = models.BinaryField()
    sign_count = models.PositiveBigIntegerField(default=0)
    transports = models.CharField(max_length=100, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name


class RecoveryCode(models.Model):
    """One of the codes that let in once when the second factor is lost; only its keyed hash is kept."""

    account = models.ForeignKey("mailboxes.Account", on_delete=models.CASCADE, related_name="recovery_codes")
    digest = models.CharField(max_length=64)
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "digest"], name="recovery_code_is_one")]

    def __str__(self) -> str:
        return f"recovery code of account {self.account_id}"


class AppPassword(models.Model):
    """A password for one mail program, made by the house and shown once. It is long and random, so a keyed
    hash is enough: `digest`. `last_used_*` are written now and then, not at every poll."""

    account = models.ForeignKey("mailboxes.Account", on_delete=models.CASCADE, related_name="app_passwords")
    name = models.CharField(max_length=60)
    digest = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_from = models.CharField(max_length=64, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "digest"], name="app_password_is_one")]

    def __str__(self) -> str:
        return self.name
