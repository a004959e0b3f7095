"""The project as an app: what it checks before anything starts."""

from django.apps import AppConfig


class HostingConfig(AppConfig):
    name = "hosting"

    def ready(self) -> None:
        from hosting import checks  # noqa: F401  # registers itself
