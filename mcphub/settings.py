"""The hub's settings, read from the environment. Every one has its heading in docs/reference/settings.md."""

import hashlib
from pathlib import Path

from mcphub import env, providers
from mcphub.navigation import UNFOLD  # noqa: F401 - a setting

ROOT = Path(__file__).resolve().parent.parent
DATA_DIR = env.folder("DATA_DIR", str(ROOT / ".data"))
DEBUG = env.flag("DEBUG", default=False)
PORT = env.number("PORT", 8000, low=1, high=65535)

# Where people and hosts reach the hub, without a trailing slash: the origin of every URL it prints.
_base = env.origin("BASE_URL", f"http://localhost:{PORT}")
BASE_URL = _base.geturl()
_local = ["localhost", "127.0.0.1", "[::1]"] if _base.hostname in {"localhost", "127.0.0.1", "::1"} else []
ALLOWED_HOSTS = [_base.hostname or "", *_local, *env.words("ALLOWED_HOSTS")]
ALLOWED_ORIGINS = env.words("ALLOWED_ORIGINS")
BEHIND_PROXY = env.flag("BEHIND_PROXY", default=False)

SECRET_KEY = env.secret("SECRET_KEY", DATA_DIR)
SEAL_KEYS = env.secret("SEAL_KEYS", DATA_DIR).split(",")
DIGEST_KEY = hashlib.sha256(b"digest" + SECRET_KEY.encode()).digest()

DATABASE_URL = env.text("DATABASE_URL", "postgresql:///mcphub")
DATABASE_OWNER_URL = env.text("DATABASE_OWNER_URL", "") or DATABASE_URL
_database_pool = env.number("DATABASE_POOL", 8, low=2, high=200)
DATABASES = {
    "default": env.database("DATABASE_URL", DATABASE_URL),
    # Only migrations and grants use this one: the owner of the tables.
    "owner": env.database("DATABASE_OWNER_URL", DATABASE_OWNER_URL),
}
# A page that makes Postgres work for longer than this is ended, so that nobody can keep it busy.
_bounded = "-c statement_timeout=8s -c idle_in_transaction_session_timeout=60s"
_options = DATABASES["default"]["OPTIONS"]
_options["options"] = f"{_bounded} {_options.get('options', '')}".strip()
_options["pool"] = {"min_size": 0, "max_size": _database_pool, "timeout": 10}
DATABASE_POOL = _database_pool
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "mcphub",
    "gateway",
    "oversight",
    "jobs",
    "tools",
    "access",
    "oauth2_provider",
    "policy",
    "tenants",
    "audit",
    "rest_framework",
    "drf_spectacular",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.mfa",
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "mcphub.admin_config.HubAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "mcphub.static_files.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "mcphub.csp.ContentSecurityPolicyMiddleware",
    "tenants.middleware.TenantScopeMiddleware",
    "mcphub.passwords.BusyMiddleware",
]
ROOT_URLCONF = "mcphub.urls"
ASGI_APPLICATION = "mcphub.asgi.app"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "mcphub.frame.context",
            ],
        },
    }
]

AUTH_USER_MODEL = "tenants.User"
PASSWORD_HASHERS = ["mcphub.passwords.Hasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]

# Without it the hub sends no mail: passwords are reset by platform staff, invitations are handed over as links.
EMAIL_URL = env.text("EMAIL_URL", "")
SENDS_MAIL = bool(EMAIL_URL)
_mail = env.mail("EMAIL_URL", EMAIL_URL, sender=f"mcphub@{_base.hostname}")
EMAIL_BACKEND = "mcphub.mail.EmailBackend" if SENDS_MAIL else "django.core.mail.backends.dummy.EmailBackend"
EMAIL_HOST, EMAIL_PORT, EMAIL_TIMEOUT = _mail.host, _mail.port, 10
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail.user, _mail.password
EMAIL_USE_TLS, EMAIL_USE_SSL = _mail.starts_tls, _mail.tls_from_the_start
DEFAULT_FROM_EMAIL = SERVER_EMAIL = _mail.sender

# Signing in (https://docs.allauth.org/en/latest/account/configuration.html); our decisions are in mcphub.accounts.
ACCOUNT_ADAPTER = "mcphub.accounts.AccountAdapter"
ACCOUNT_DEFAULT_HTTP_PROTOCOL = _base.scheme
ACCOUNT_EMAIL_SUBJECT_PREFIX = "[mcphub] "
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory" if SENDS_MAIL else "none"
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_UNIQUE_EMAIL = True
ACCOUNT_FORMS = {
    "login": "mcphub.account_forms.SignIn",
    "signup": "mcphub.account_forms.SignUp",
    "change_password": "mcphub.account_forms.ChangePassword",
    "set_password": "mcphub.account_forms.SetPassword",
    "reset_password": "mcphub.account_forms.AskForReset",
    "reset_password_from_key": "mcphub.account_forms.ResetPassword",
    "reauthenticate": "mcphub.account_forms.Reauthenticate",
}
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True  # only in the browser that signed up
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False  # this browser stays, every other session of the person ends
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_SESSION_REMEMBER = None  # the person says so on the form
ACCOUNT_REAUTHENTICATION_REQUIRED = True
# Beside these, five wrong passwords in five minutes for one person end the attempts. An address is what the server
# took the peer for, see `--forwarded-allow-ips`; no header is read here.
_sign_ins = f"{env.number('SIGN_INS_PER_MINUTE', 30, low=1, high=100_000)}/m/ip"
ACCOUNT_RATE_LIMITS = {
    "login": _sign_ins,
    "sign_in_with": _sign_ins,
    "login_failed_from": "10/m/ip",
    "reset_password": "20/m/ip,5/h/key",
    "follow_invitation": "10/m/ip",  # only links that open nothing are counted
}
ACCOUNT_REAUTHENTICATION_TIMEOUT = 300
MFA_ADAPTER = "mcphub.accounts.MFAAdapter"
MFA_FORMS = {
    "authenticate": "mcphub.account_forms.Code",
    "reauthenticate": "mcphub.account_forms.CodeAgain",
    "activate_totp": "mcphub.account_forms.ActivateApp",
    "add_webauthn": "mcphub.account_forms.AddPasskey",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = _base.scheme == "http" and bool(_local)  # browsers trust localhost without TLS
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_TOTP_ISSUER = "mcphub"
MFA_RECOVERY_CODES_SHOW_ONCE = True
SOCIALACCOUNT_ADAPTER = "mcphub.accounts.SocialAdapter"
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False  # a provider's word on an address gives nobody somebody else's account
SOCIALACCOUNT_LOGIN_ON_GET = False
SOCIALACCOUNT_STORE_TOKENS = False
SIGN_IN_WITH = providers.parse(env.text("SIGN_IN_WITH", ""))
SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": providers.as_apps(SIGN_IN_WITH)}}

# Counters of failed sign-ins must hold for all web servers together. Authority is never cached here.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "web_cache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},  # beyond it, entries are dropped at random
    }
}

# The authorization server: the toolkit's engine behind our own views (access.oauth); its URLs are never mounted.
OAUTH2_PROVIDER_APPLICATION_MODEL = "access.Client"
OAUTH2_PROVIDER_GRANT_MODEL = "access.Grant"
OAUTH2_PROVIDER_ACCESS_TOKEN_MODEL = "access.AccessToken"  # noqa: S105
OAUTH2_PROVIDER_REFRESH_TOKEN_MODEL = "access.RefreshToken"  # noqa: S105
OAUTH2_PROVIDER_ID_TOKEN_MODEL = "access.IDToken"  # noqa: S105
OAUTH2_PROVIDER = {
    "OAUTH2_SERVER_CLASS": "access.oauth.server.HubServer",
    "OAUTH2_VALIDATOR_CLASS": "access.oauth.validator.HubValidator",
    "ACCESS_TOKEN_GENERATOR": "access.oauth.generators.access_token",
    "REFRESH_TOKEN_GENERATOR": "access.oauth.generators.refresh_token",
    "APPLICATION_ADMIN_CLASS": "access.admin.clients.ClientAdmin",
    "ACCESS_TOKEN_EXPIRE_SECONDS": 3600,
    "AUTHORIZATION_CODE_EXPIRE_SECONDS": 60,
    "OIDC_ISS_ENDPOINT": BASE_URL,  # `iss` in answers is then what the metadata says
    "OIDC_ENABLED": False,
    "PKCE_REQUIRED": True,
    "ROTATE_REFRESH_TOKEN": True,
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    "ALLOWED_REDIRECT_URI_SCHEMES": ["http", "https"],
    "ALLOW_URI_WILDCARDS": False,
    "ALLOW_LOCALHOST_LOOPBACK": True,
    "SCOPES": {"hub": "the toolkit wants one; scopes are the tenant's"},
    "DEFAULT_SCOPES": [],
    "REQUEST_APPROVAL_PROMPT": "force",
    "DCR_ENABLED": False,  # both are our own, see access.clients
    "CIMD_ENABLED": False,
    "RESOURCE_SERVER_TOKEN_RESOURCE_VALIDATOR": None,  # the audience is checked by access.admit
    "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PKCE_METHOD": True,
    "COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT": True,
    "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
    "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True,
    "COMPLIANT_BCP_RFC9700_REFRESH_TOKEN": True,
    "COMPLIANT_BCP_RFC9700_REDIRECT_URI_SCHEME": True,
    "COMPLIANT_BCP_RFC9700_REDIRECT_URI_MATCHING": True,
    "COMPLIANT_BCP_RFC9700_PKCE_REQUIRED": True,
}
# Private hosts (host or host:port) whose client metadata documents, logos and keys the hub may fetch.
CLIENT_DOCUMENT_HOSTS = env.words("CLIENT_DOCUMENT_HOSTS")
# What strangers may ask of the hub: documents read a minute for one address, registrations an hour for one and in all.
CLIENT_DOCUMENTS_PER_ADDRESS = env.number("CLIENT_DOCUMENTS_PER_ADDRESS", 10, low=1, high=100_000)
CLIENT_REGISTRATIONS_PER_ADDRESS = env.number("CLIENT_REGISTRATIONS_PER_ADDRESS", 10, low=1, high=100_000)
CLIENT_REGISTRATIONS = env.number("CLIENT_REGISTRATIONS", 200, low=1, high=1_000_000)

_https = _base.scheme == "https"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
SECURE_HSTS_SECONDS = 31536000 if _https else 0
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CSRF_TRUSTED_ORIGINS = [BASE_URL]
CSRF_FAILURE_VIEW = "mcphub.pages.forged"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
# Results of jobs that are too large for a row, sealed; nothing is uploaded to the default one.
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "results": env.storage("RESULTS_STORAGE", DATA_DIR / "results"),
}
STORAGE_SECRETS = env.of_others("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")  # results must not hold them either
STATIC_URL = "static/"
# Set in production, with `manage.py collectstatic`; unset, files are served from where they lie.
STATIC_ROOT = env.text("STATIC_ROOT", "") or None
STATICFILES_DIRS = [ROOT / "static"]
WHITENOISE_USE_FINDERS = STATIC_ROOT is None

# Python modules whose `@function`s the tools of kind `function` may use.
TOOL_FUNCTIONS = env.words("TOOL_FUNCTIONS", "examples.helpdesk.functions")
# Private hosts and networks that a tenant's admin may allow a connection to reach; platform staff may allow any.
ALLOWED_PRIVATE_HOSTS = env.words("ALLOWED_PRIVATE_HOSTS", "*" if _local else "")
# What the demo tenant's connection presents to the help desk; `make run` makes one up.
HELPDESK_TOKEN = env.text("HELPDESK_TOKEN", "")
# The largest request body the MCP endpoint reads, in bytes.
MAX_BODY_BYTES = env.number("MAX_BODY_BYTES", 4 * 1024 * 1024, low=1024, high=64 * 1024 * 1024)
# What judges the arguments of tools of high risk: the hub's own, nothing, or a class of yours by its dotted path.
INPUT_CLASSIFIER = env.dotted("INPUT_CLASSIFIER", "builtin", "builtin")
# How many ledger rows may wait for their commit in one process before callers are slowed.
LEDGER_QUEUE = env.number("LEDGER_QUEUE", 2000, low=1, high=100000)

# Jobs. Without a broker of its own the hub rings its workers through its Postgres.
CELERY_BROKER_URL = env.broker("CELERY_BROKER_URL")
# Seconds a worker may be silent before its job is taken from it.
JOBS_LEASE = env.number("JOBS_LEASE", 15, low=2, high=600)
# Seconds a stopping worker lets its job go on, and seconds a cancelled job has before its process is ended.
JOBS_DRAIN = env.number("JOBS_DRAIN", 20, low=0, high=3600)
JOBS_GRACE = env.number("JOBS_GRACE", 10, low=1, high=600)
# How many jobs a tenant may have running and waiting, unless its own allowance says otherwise.
JOBS_RUNNING = env.number("JOBS_RUNNING", 8, low=1, high=10000)
JOBS_QUEUED = env.number("JOBS_QUEUED", 1000, low=1, high=1000000)
# How many requests of one member may wait for jobs in one process, and how often one may look at them in a minute.
JOBS_WAITS = env.number("JOBS_WAITS", 64, low=1, high=100_000)
FOLLOWS_PER_MINUTE = env.number("FOLLOWS_PER_MINUTE", 600, low=0, high=1_000_000)
# So many workers are kept for tenants that have nothing running.
JOBS_KEPT_SLOTS = env.number("JOBS_KEPT_SLOTS", 1, low=0, high=1000)
# A larger result, in bytes, goes to storage and not into the job's row.
JOBS_INLINE_RESULT = env.number("JOBS_INLINE_RESULT", 262144, low=1024, high=16 * 1024 * 1024)

# The REST interface (jobs.api): credentials of tenants and nothing else, so neither sessions nor forms come into it.
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["jobs.api.auth.Credential"],
    "DEFAULT_PERMISSION_CLASSES": ["jobs.api.auth.Admitted"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_VERSIONING_CLASS": None,
    "EXCEPTION_HANDLER": "jobs.api.auth.answer",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "mcphub",
    "DESCRIPTION": "Jobs of a tenant: calls of its tools that outlive the request that made them.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVERS": [{"url": BASE_URL}],
    "SERVE_INCLUDE_SCHEMA": False,
    "ENUM_NAME_OVERRIDES": {"JobState": "jobs.models.State"},
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "jobs.api.document.add_events",
    ],
}

LOG_LEVEL = env.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"without_links": {"()": "mcphub.logs.WithoutLinks"}},
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    # What a visitor did wrong (403, 404) is no news; what the hub did wrong (500) is.
    "loggers": {
        "botocore": {"level": "WARNING"},  # it says where it found its settings, in each thread
        "mcp": {"level": "WARNING"},
        "oauth2_provider": {"level": "ERROR"},  # it says client ids at WARNING, and oauthlib whole requests at DEBUG
        "oauthlib": {"level": "WARNING"},
        "psycopg.pool": {"level": "WARNING"},
        "django.request": {"level": "ERROR", "filters": ["without_links"]},
    },
}
