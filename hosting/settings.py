"""The one place that knows how Restante is set up: everything comes from the environment or `.env`.

`.env.example` names every setting that is read here, with its default and what it is for.
"""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from hosting.environment import Environment

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment(BASE_DIR)

# -- who we are ---------------------------------------------------------------------------------
SECRET_KEY = env.text("SECRET_KEY")
SECRET_KEY_FALLBACKS = env.names("SECRET_KEY_FALLBACKS")
DEBUG = env.switch("DEBUG", default=False)
# Not HOSTNAME: container engines and some shells set that themselves, and it would count more than .env.
HOSTNAME = env.text("MAIL_HOSTNAME", "localhost").lower()
ALLOWED_HOSTS = env.names("ALLOWED_HOSTS", f"{HOSTNAME},localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.names("CSRF_TRUSTED_ORIGINS")
HTTPS = env.switch("HTTPS", default=False)
TRUST_FORWARDED_PROTO = env.switch("TRUST_FORWARDED_PROTO", default=False)

# -- where mail and records lie -----------------------------------------------------------------
VAR = env.path("VAR_ROOT", "var")
DATABASES: dict[str, dict[str, Any]] = {
    "default": env.database("DATABASE_URL", f"sqlite:///{VAR / 'restante.sqlite3'}")
}
database = DATABASES["default"]
database["CONN_MAX_AGE"] = None  # a door keeps its connections; a broken one is dropped after its first error
if database["ENGINE"].endswith("sqlite3"):
    database["OPTIONS"] = {
        # IMMEDIATE: a writer waits for its turn at BEGIN instead of failing at its first write.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        # FULL: a commit is on the disk when it returns (invariant 1). WAL: readers never wait.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-16000;",
    }
    Path(database["NAME"]).parent.mkdir(parents=True, exist_ok=True)
else:
    database["CONN_HEALTH_CHECKS"] = True
    # One that takes connections and says nothing must not hold a thread for ever.
    database.setdefault("OPTIONS", {}).setdefault("connect_timeout", 10)
    # What every message needs is prepared at its first use (mailboxes/statements.py). None: never, for
    # PgBouncer in transaction mode.
    database["OPTIONS"].setdefault("prepare_threshold", 0)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CONTENT_ROOT = env.path("CONTENT_ROOT", "var/content")
SPOOL_ROOT = env.path("SPOOL_ROOT", "var/spool")
CONTENT_S3_BUCKET = env.text("CONTENT_S3_BUCKET", "")
CONTENT_S3_ENDPOINT = env.text("CONTENT_S3_ENDPOINT", "")
# Beside the files, so that what was uploaded becomes one by being renamed; /tmp may be memory.
FILE_UPLOAD_TEMP_DIR = VAR / "uploads"
FILE_UPLOAD_TEMP_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
STORAGES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        # What is exported or handed in is its owner's alone, as mail is.
        "OPTIONS": {
            "location": VAR / "files",
            "file_permissions_mode": 0o600,
            "directory_permissions_mode": 0o700,
        },
    },
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "content": {"BACKEND": "mailboxes.storage.ContentFolder", "OPTIONS": {"location": CONTENT_ROOT}},
}
if CONTENT_S3_BUCKET:
    from botocore.config import Config as S3Config  # takes its time, and most houses have no bucket

    # Access keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, as with every S3 program.
    STORAGES["content"] = {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": CONTENT_S3_BUCKET,
            "endpoint_url": CONTENT_S3_ENDPOINT or None,
            "region_name": env.text("CONTENT_S3_REGION", "us-east-1"),
            "file_overwrite": True,
            "default_acl": None,
            "querystring_auth": True,
            # Flat memory: what is larger goes through a file.
            "max_memory_size": 1024 * 1024,
            # A bucket that hangs must not hold the doors' threads for minutes.
            "client_config": S3Config(connect_timeout=5, read_timeout=30, retries={"max_attempts": 2}),
        },
    }

REDIS_URL = env.text("REDIS_URL", "")
if REDIS_URL and urlsplit(REDIS_URL).scheme not in {"redis", "rediss", "unix"}:
    raise ImproperlyConfigured(f"REDIS_URL={REDIS_URL!r}: say redis://host:6379/0, or leave it empty")
CACHES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}
    if REDIS_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    # Remote images, for all processes of this machine: files, of which there are never more than these.
    "images": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": VAR / "images",
        "OPTIONS": {"MAX_ENTRIES": 300},
    },
}

# -- limits and rules of the mail service -------------------------------------------------------
MESSAGE_SIZE_LIMIT = env.size("MESSAGE_SIZE_LIMIT", "50M", least=64 * 1024, most=2**31)
DEFAULT_QUOTA = env.size("DEFAULT_QUOTA", "2G")
STORAGE_CAPACITY = env.size("STORAGE_CAPACITY", "0", least=0)
TRASH_DAYS = env.number("TRASH_DAYS", 30, least=1, most=3650)
CLOSED_ACCOUNT_DAYS = env.number("CLOSED_ACCOUNT_DAYS", 30, least=1, most=3650)
RECORD_DAYS = env.number("RECORD_DAYS", 90, least=1, most=3650)
# Longer than any POP3 session may last (12 hours), so that a session's snapshot never loses its content.
CONTENT_GRACE_HOURS = env.number("CONTENT_GRACE_HOURS", 24, least=13, most=24 * 365)

POP3_PLAINTEXT_LOGIN = env.choice("POP3_PLAINTEXT_LOGIN", "loopback", ("loopback", "always", "never"))
POP3_EXCLUSIVE = env.switch("POP3_EXCLUSIVE", default=False)
POP3_MAX_CONNECTIONS = env.number("POP3_MAX_CONNECTIONS", 12_000, least=1, most=1_000_000)
POP3_MAX_CONNECTIONS_PER_ADDRESS = env.number(
    "POP3_MAX_CONNECTIONS_PER_ADDRESS", 250, least=1, most=1_000_000
)
SMTPD_MAX_CONNECTIONS = env.number("SMTPD_MAX_CONNECTIONS", 1_000, least=1, most=1_000_000)
SMTPD_MAX_CONNECTIONS_PER_ADDRESS = env.number(
    "SMTPD_MAX_CONNECTIONS_PER_ADDRESS", 100, least=1, most=1_000_000
)
SMTPD_MAX_RECIPIENTS = env.number("SMTPD_MAX_RECIPIENTS", 1_000, least=100, most=100_000)
# What a subscriber may upload at once.
IMPORT_SIZE_LIMIT = env.size("IMPORT_SIZE_LIMIT", "2G", least=1024 * 1024)
# Mail is fetched from servers of the public internet, and of these networks.
FETCH_PRIVATE_NETWORKS = env.networks("FETCH_PRIVATE_NETWORKS")
# What subscribers are told to enter in their mail programs.
POP3_FOR_PROGRAMS = {
    "host": env.text("POP3_PUBLIC_HOST", HOSTNAME),
    "port": env.number("POP3_PUBLIC_PORT", 995, least=1, most=65535),
    "security": env.choice("POP3_PUBLIC_SECURITY", "tls", ("tls", "starttls", "none")),
}
# The same for sending; no host: this house names no server for that.
SMTP_FOR_PROGRAMS = {
    "host": env.text("SMTP_PUBLIC_HOST", ""),
    "port": env.number("SMTP_PUBLIC_PORT", 465, least=1, most=65535),
    "security": env.choice("SMTP_PUBLIC_SECURITY", "tls", ("tls", "starttls", "none")),
}
DOOR_THREADS = env.number("DOOR_THREADS", 8, least=2, most=256)
PROXY_NETWORKS = env.networks("PROXY_NETWORKS")
# Whether the webmail fetches remote images (and unsubscribes) for its readers, and from whom never.
REMOTE_IMAGES = env.switch("REMOTE_IMAGES", default=True)
REMOTE_REFUSED_NETWORKS = env.networks("REMOTE_REFUSED_NETWORKS")
METRICS_TOKEN = env.text("METRICS_TOKEN", "")

TLS_CERT = env.optional_path("TLS_CERT")
TLS_KEY = env.optional_path("TLS_KEY")
if (TLS_CERT is None) != (TLS_KEY is None):
    missing = "TLS_KEY" if TLS_KEY is None else "TLS_CERT"
    raise ImproperlyConfigured(f"{missing} is not set: a certificate and its key come together")

# -- Django -------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "hosting",
    "mailboxes",
    "smtpd",
    "pop3d",
    "webmail",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "hosting.requests.CountRequests",
    "hosting.csp.ContentSecurityPolicy",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "hosting.languages.RememberLanguage",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "hosting.unavailable.Unavailable",
]
ROOT_URLCONF = "hosting.urls"
WSGI_APPLICATION = "hosting.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "hosting.colours.for_templates",
            ]
        },
    }
]
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = VAR / "static"
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

LANGUAGE_CODE = env.choice("LANGUAGE_CODE", "en", ("en", "de"))
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
LOCALE_PATHS = [BASE_DIR / "hosting" / "locale"]
FORMAT_MODULE_PATH = "hosting.formats"
TIME_ZONE = env.text("TIME_ZONE", "UTC")
USE_TZ = True

# -- security -----------------------------------------------------------------------------------
AUTH_USER_MODEL = "mailboxes.Account"
LOGIN_URL = "login"
# Who asked for no page is led to the front door, which knows where each begins; others to pages of these.
LOGIN_REDIRECT_URL = "front"
LOGIN_LEADS_TO = ("/mail/", "/console/")
# Whether the console opens to staff without a second factor.
CONSOLE_SECOND_FACTOR = env.choice("CONSOLE_SECOND_FACTOR", "required", ("required", "optional"))
# A browser in which staff have logged in is left logged in no longer than a working day.
STAFF_SESSION_HOURS = env.number("STAFF_SESSION_HOURS", 12, least=1, most=24 * 14)
PASSWORD_HASHERS = ["mailboxes.hashers.Argon2id"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = HTTPS
SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_REFERRER_POLICY = "same-origin"
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
if TRUST_FORWARDED_PROTO:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# -- jobs ---------------------------------------------------------------------------------------
if REDIS_URL:
    CELERY_BROKER_URL = REDIS_URL
else:
    # No server by default: the queue is a folder.
    broker = VAR / "broker"
    CELERY_BROKER_URL = "filesystem://localhost"
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(broker / "queue"),
        "data_folder_out": str(broker / "queue"),
        "control_folder": str(broker / "control"),
    }
    for folder in ("queue", "control"):
        (broker / folder).mkdir(parents=True, exist_ok=True)
CELERY_TASK_ACKS_LATE = True
# A worker takes a job when it begins it: what it held beside would wait an hour if Redis went away.
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_IGNORE_RESULT = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR / "celerybeat-schedule")

# -- logs: one line an event, to standard error -------------------------------------------------
LOG_LEVEL = env.choice("LOG_LEVEL", "info", ("debug", "info", "warning", "error")).upper()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "line"},
        "faults": {"class": "mailboxes.faults.FaultCounter"},
    },
    "filters": {"ours": {"()": "mailboxes.faults.Ours"}},
    # Else a sender's dead image host would be an error of this house, as often as somebody reads the letter.
    "loggers": {"django.request": {"filters": ["ours"]}},
    "root": {"handlers": ["stderr", "faults"], "level": LOG_LEVEL},
}
