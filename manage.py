#!/usr/bin/env python
"""Every command of Restante starts here; a setting that is wrong ends the start with one line."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hosting.settings")
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        _ = settings.INSTALLED_APPS
    except ImproperlyConfigured as error:
        sys.stderr.write(f"restante: {error}\n")
        sys.exit(os.EX_CONFIG)
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
