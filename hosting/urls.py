"""Where each page of the house is."""

from django.urls import URLPattern, URLResolver, include, path

from hosting import colours, health, languages
from hosting.console.metrics import metrics
from hosting.console.views import entrance
from webmail.views import login, programs

handler400 = "hosting.unavailable.bad_request"
handler500 = "hosting.unavailable.server_error"
urlpatterns: list[URLPattern | URLResolver] = [
    path("", entrance.front, name="front"),
    path("login/", login.login, name="login"),
    path("login/code/", login.second_step, name="second_step"),
    path("login/passkey/", login.by_passkey, name="by_passkey"),
    path("logout/", login.logout, name="logout"),
    # Before the webmail's own pages, for Thunderbird looks there, too.
    path("mail/config-v1.1.xml", programs.thunderbird, name="thunderbird"),
    path(".well-known/autoconfig/mail/config-v1.1.xml", programs.thunderbird, name="thunderbird_well_known"),
    path("autodiscover/autodiscover.xml", programs.outlook, name="outlook"),
    path("Autodiscover/Autodiscover.xml", programs.outlook, name="outlook_capital"),
    path("mail/", include("webmail.urls")),
    path("console/", include("hosting.console.urls")),
    path("language/", languages.choose, name="language"),
    path("colours/", colours.choose, name="colours"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
]
