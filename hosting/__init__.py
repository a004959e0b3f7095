"""Hosting governs: settings, processes, jobs and the operator's console."""

from hosting.celery import app as celery_app

__all__ = ["celery_app"]
