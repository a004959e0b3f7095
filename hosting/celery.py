"""The job queue: `celery -A hosting worker` does the jobs, `celery -A hosting beat` sets the regular ones."""

import os

from celery import Celery
from celery.schedules import crontab

from hosting import working  # noqa: F401  # it lets workers and beat be seen

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hosting.settings")

app = Celery("restante", task_cls="hosting.jobs:Job")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# Also for the threads of a web process: without this they would look for a broker that is not there.
app.set_default()
# Work of minutes has workers of its own, so that mail is found and rules are kept meanwhile.
app.conf.task_routes = {"mailboxes.tasks.run_errand": {"queue": "errands"}}
app.conf.beat_schedule = {
    "retention": {"task": "mailboxes.tasks.retention", "schedule": crontab(minute="17")},
    "sweep": {"task": "mailboxes.tasks.sweep", "schedule": crontab(minute="41", hour="*/6")},
    # The queue itself is in the database; this is its pulse. One that nobody took in time is worth nothing.
    "index_messages": {
        "task": "mailboxes.tasks.index_messages",
        "schedule": 5.0,
        "options": {"expires": 5.0},
    },
    "give_out_errands": {
        "task": "mailboxes.tasks.give_out_errands",
        "schedule": 30.0,
        "options": {"expires": 30.0},
    },
    "quota_warnings": {"task": "mailboxes.tasks.warn_of_full_mailboxes", "schedule": crontab(minute="*/10")},
    "quota_warnings_of_all": {
        "task": "mailboxes.tasks.warn_of_full_mailboxes",
        "schedule": crontab(minute="23", hour="5"),
        "kwargs": {"everybody": True},
    },
    "count_hours": {"task": "mailboxes.tasks.count_hours", "schedule": crontab(minute="*/5")},
    "rank_mailboxes": {"task": "mailboxes.tasks.rank_mailboxes", "schedule": crontab(minute="29")},
}
