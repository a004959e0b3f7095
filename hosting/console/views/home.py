"""Where work begins: how the house is doing, the one search box, and who may do what."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from hosting import probes
from hosting.console import health as state
from hosting.console import plots
from hosting.console.pages import show
from hosting.console.permissions import STAFF, TABLE, Act, Reach, StaffRequest, allowed
from hosting.templatetags.console_texts import ROLES
from mailboxes import counts, directory, growth

QUERY_MAX = 320
HOURS = (24, 48)
DAYS = (30, 90)
LARGEST_SHOWN = 50


@require_safe
@allowed(None)
def home(request: StaffRequest) -> HttpResponse:
    if not request.staff.may(Act.SEE_HOUSE):
        return redirect("console:accounts")
    last = _chosen(request, "hours", HOURS)
    counted = counts.hours(last)
    context = {
        "page": "home",
        "tab": "home",
        "house": state.look(),
        "totals": counts.totals(),
        "plots": plots.by_hour(counted) if counted else [],
        "last": last,
        "choices": HOURS,
    }
    return show(request, "home.html", context)


@require_safe
@allowed(Act.SEE_HOUSE)
def days(request: StaffRequest) -> HttpResponse:
    """The same by the day."""
    last = _chosen(request, "days", DAYS)
    counted = counts.days(last)
    context = {
        "page": "home",
        "tab": "days",
        "plots": plots.by_day(counted) if counted else [],
        "last": last,
        "choices": DAYS,
    }
    return show(request, "home_days.html", context)


@require_safe
@allowed(Act.SEE_HOUSE)
def room(request: StaffRequest) -> HttpResponse:
    """What is stored, how it grows, when there will be no more room, and who has most of it."""
    points = counts.stored(DAYS[-1])
    forecast = growth.forecast(points[-growth.FITTED_DAYS :])
    free, basis = _room_left(points[-1][1] if points else 0)
    context = {
        "page": "home",
        "tab": "room",
        "plot": plots.stored(points) if points else None,
        "days": len(points),
        "least_days": growth.LEAST_DAYS,
        "forecast": forecast,
        "free": free,
        "basis": basis,
        "full": forecast and free is not None and _full(forecast, free),
        "largest": counts.largest_mailboxes(LARGEST_SHOWN),
    }
    return show(request, "home_room.html", context)


def _room_left(stored: int) -> tuple[int | None, str]:
    """Octets, and what that is based on."""
    if settings.STORAGE_CAPACITY:
        return max(0, settings.STORAGE_CAPACITY - stored), _("the setting STORAGE_CAPACITY")
    disks = probes.ask({"disks": probes.disks})["disks"].value or {}
    if "content" not in disks:
        return None, ""
    return disks["content"][0], _("what is free on the file system of the content now")


def _full(forecast: growth.Forecast, free: int) -> dict[str, int | None]:
    return {
        "about": forecast.full_in(free),
        "earliest": forecast.earliest(free),
        "latest": forecast.latest(free),
    }


@require_safe
def health(request: HttpRequest) -> HttpResponseBase:
    """Each process, and what it needs. Without the database nobody can be told apart from anybody: then this
    page says so to whoever asks, and nothing more than /readyz does."""
    house = state.look()
    if not house.database.good:
        return render(request, "console/health_away.html", {"parts": house.parts[:2]}, status=503)
    return _health(request, house)


@allowed(Act.SEE_HOUSE)
def _health(request: StaffRequest, house: state.House) -> HttpResponse:
    return show(request, "health.html", {"page": "home", "tab": "health", "house": house})


def _chosen(request: StaffRequest, name: str, choices: tuple[int, ...]) -> int:
    text = request.GET.get(name, "")
    return int(text) if text in {str(choice) for choice in choices} else choices[0]


@require_safe
@allowed(Act.LOOK_UP)
def find(request: StaffRequest) -> HttpResponse:
    """What the search box brings; the account itself where there can be no doubt."""
    query = request.GET.get("q", "").strip()[:QUERY_MAX]
    found = directory.find(query, request.staff.scope())
    if found.at_once is not None:
        return redirect("console:account", found.at_once.pk)
    return show(request, "find.html", {"query": query, "found": found})


@require_safe
@allowed(None)
def roles(request: StaffRequest) -> HttpResponse:
    """The very table that the views obey."""
    rows = [
        (
            _(act.value),
            [(_(reach.value), reach is Reach.NONE) for reach in map(TABLE[act].__getitem__, STAFF)],
        )
        for act in Act
    ]
    heads = [ROLES[role] for role in STAFF]
    return show(request, "roles.html", {"page": "roles", "heads": heads, "rows": rows})
