"""Where each page of the webmail is: every state has a URL of its own."""

from django.urls import path, register_converter

from webmail.places import FolderConverter, KeyConverter, MessageConverter
from webmail.posted import posted_from
from webmail.views import (
    account,
    acts,
    errands,
    folders,
    images,
    mail,
    oversight,
    parts,
    pdf,
    programs,
    search,
    secondfactor,
    security,
    unsubscribe,
)

register_converter(FolderConverter, "folder")
register_converter(MessageConverter, "number")
register_converter(KeyConverter, "key")

app_name = "webmail"
urlpatterns = [
    path("", mail.home, name="home"),
    path("version/", mail.version, name="version"),
    path("acts/", posted_from("webmail:home", acts.act), name="act"),
    path("undo/", posted_from("webmail:home", acts.undo), name="undo"),
    path("folders/", folders.folders, name="folders"),
    path("conversations/", posted_from("webmail:home", folders.conversations), name="conversations"),
    path("search/", search.results, name="search"),
    path("search/<number:number>/", search.found, name="found"),
    path("pdf/", pdf.page, name="pdf"),
    path("account/", account.account, name="account"),
    path("account/programs/", programs.programs, name="programs"),
    path("account/programs/mail.mobileconfig", programs.apple_profile, name="apple_profile"),
    path("account/pop3-delete/", posted_from("webmail:programs", account.pop3_delete), name="pop3_delete"),
    path("account/sessions/", account.pop3_sessions, name="pop3_sessions"),
    path("account/appearance/", account.appearance, name="appearance"),
    path("account/moving/", errands.moving, name="moving"),
    path("account/moving/export/", posted_from("webmail:moving", errands.export), name="export"),
    path("account/moving/import/", posted_from("webmail:moving", errands.upload), name="import"),
    path("account/moving/fetch/", posted_from("webmail:moving", errands.fetch), name="fetch"),
    path("account/moving/<key:key>/", errands.errand, name="errand"),
    path(
        "account/moving/<key:key>/cancel/",
        posted_from("webmail:errand", errands.cancel),
        name="cancel_errand",
    ),
    path("account/moving/<key:key>/file/", errands.file, name="errand_file"),
    path(
        "account/moving/<key:key>/remove/",
        posted_from("webmail:errand", errands.forget_file),
        name="forget_file",
    ),
    path(
        "account/inspections/noted/", posted_from("webmail:account", oversight.note), name="note_inspections"
    ),
    path("account/senders/", images.senders, name="senders"),
    path("account/security/", security.security, name="security"),
    path("account/security/prove/", security.prove, name="prove"),
    path(
        "account/security/password/",
        posted_from("webmail:security", security.change_password),
        name="change_password",
    ),
    path("account/security/temporary-password/", security.choose_password, name="choose_password"),
    path(
        "account/security/sessions/end/",
        posted_from("webmail:security", security.end_session),
        name="end_session",
    ),
    path(
        "account/security/app-passwords/",
        posted_from("webmail:security", security.make_app_password),
        name="make_app_password",
    ),
    path(
        "account/security/app-passwords/revoke/",
        posted_from("webmail:security", security.revoke_app_password),
        name="revoke_app_password",
    ),
    path("account/security/authenticator/", secondfactor.authenticator, name="authenticator"),
    path(
        "account/security/authenticator/remove/",
        posted_from("webmail:security", secondfactor.remove_authenticator),
        name="remove_authenticator",
    ),
    path("account/security/passkeys/", secondfactor.add_passkey, name="add_passkey"),
    path(
        "account/security/passkeys/remove/",
        posted_from("webmail:security", secondfactor.remove_passkey),
        name="remove_passkey",
    ),
    path(
        "account/security/recovery-codes/",
        posted_from("webmail:security", secondfactor.renew_recovery_codes),
        name="recovery_codes",
    ),
    path("<folder:slug>/", mail.folder, name="folder"),
    path("<folder:slug>/empty/", acts.empty, name="empty"),
    path("<folder:slug>/<number:number>/", mail.message, name="message"),
    path("<folder:slug>/<number:number>/letter/", mail.letter, name="letter"),
    path("<folder:slug>/<number:number>/html/", parts.html, name="html"),
    path("<folder:slug>/<number:number>/source/", parts.source, name="source"),
    path("<folder:slug>/<number:number>/headers/", parts.headers, name="headers"),
    path("<folder:slug>/<number:number>/image/", images.image, name="image"),
    path(
        "<folder:slug>/<number:number>/images/",
        posted_from("webmail:message", images.show_images),
        name="show_images",
    ),
    path("<folder:slug>/<number:number>/unsubscribe/", unsubscribe.unsubscribe, name="unsubscribe"),
    path("<folder:slug>/<number:number>/attachments.zip", parts.archive, name="zip"),
    path("<folder:slug>/<number:number>/part/<str:part>/", parts.download, name="part"),
    path("<folder:slug>/<number:number>/part/<str:part>/look/", parts.look, name="look"),
    path("<folder:slug>/<number:number>/part/<str:part>/letter/", parts.inside, name="inside"),
    path("<folder:slug>/<number:number>/part/<str:part>/letter/html/", parts.html, name="inside_html"),
    path(
        "<folder:slug>/<number:number>/part/<str:part>/letter/headers/", parts.headers, name="inside_headers"
    ),
    path(
        "<folder:slug>/<number:number>/part/<str:part>/letter/attachments.zip",
        parts.archive,
        name="inside_zip",
    ),
]
