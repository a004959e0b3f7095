"""Where a request comes from."""

from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest


def peer_of(request: HttpRequest) -> str:
    """The address of the browser: the connection's, or what a proxy of ours (PROXY_NETWORKS) says of it.

    Only the last of X-Forwarded-For is the proxy's own word; what stands before it anybody can have written.
    """
    peer: str = request.META.get("REMOTE_ADDR", "")
    forwarded: str = request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
    return forwarded if forwarded and _is_proxy(peer) and _is_address(forwarded) else peer


def _is_proxy(peer: str) -> bool:
    return _is_address(peer) and any(ip_address(peer) in network for network in settings.PROXY_NETWORKS)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
