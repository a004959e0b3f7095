"""The place that passkeys are bound to: this host name, as the browser sees it."""

from ipaddress import ip_address

from django.http import HttpRequest

from mailboxes.passkeys import Site


def site_of(request: HttpRequest) -> Site | None:
    """None: passkeys cannot be had here, for the pages were opened by an IP address (WebAuthn section 5.1.2:
    a relying party's id is a domain) or, elsewhere than on this machine, without HTTPS."""
    # get_host() takes no name that is not in ALLOWED_HOSTS.
    host = request.get_host()
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        pass
    else:
        return None
    if not request.is_secure() and name != "localhost" and not name.endswith(".localhost"):
        return None
    return Site(name, f"{request.scheme}://{host}")
