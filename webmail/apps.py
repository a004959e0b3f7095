"""Webmail: the subscriber's browser as a door of the house."""

from django.apps import AppConfig


class WebmailConfig(AppConfig):
    name = "webmail"
