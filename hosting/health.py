"""Whether this process runs, and whether what it needs answers."""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from hosting import probes


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """The process answers: 200."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Database and content storage answer: 200, else 503 with what does not; within two seconds."""
    answers = probes.ask({"database": probes.database, "content": probes.content})
    checks = {name: answer.good for name, answer in answers.items()}
    ready = all(checks.values())
    return JsonResponse({"status": "ok" if ready else "unavailable", **checks}, status=200 if ready else 503)
