"""URLs, read in one way. `check` reads some each minute: nothing heavy is imported here."""

from _socket import AF_INET, AF_INET6, inet_pton
from collections import namedtuple

from citadel.core.text import printable

_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/?[]@!$&'()*+,;=%")

Url = namedtuple("Url", "scheme host port path")
Url.__doc__ = """`host` in lower case and without brackets, `port` 0 where none is written, `path` "" or all from the
first / on, its query included."""


def number(digits):
    """A whole number in plain ASCII digits, or None; `int` would also take '1_0', ' 1' and Arabic digits."""
    return int(digits) if digits and len(digits) <= 15 and not set(digits) - set("0123456789") else None


def shown(text):
    """A text as an error message shows it."""
    return "'%s'" % printable(text, 60)


def read(url, schemes):
    """The Url in a text; ValueError says what is wrong with it. It must name a host and hold no user or password."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in schemes:
        raise ValueError("%s does not begin with %s" % (shown(url), " or ".join(word + "://" for word in schemes)))
    if set(url) - _CHARACTERS or len(url) > 1024:
        raise ValueError("%s holds characters that no URL has" % shown(url))
    cut = min([rest.index(end) for end in "/?" if end in rest] or [len(rest)])
    place, path = rest[:cut], rest[cut:]
    if "@" in place:
        raise ValueError("a URL with a user or password in it: this file is no place for secrets")
    host, colon, digits = split_place(place)
    if place.startswith("[") and (":" not in host or "]" not in place or colon not in ("", ":")):
        raise ValueError("%s: what stands in [ ] is no IPv6 address" % shown(url))
    if not place.startswith("[") and ":" in host:
        raise ValueError("%s: an IPv6 address is written in [ ]" % shown(url))
    port = number(digits) or 0
    if colon and not 1 <= port <= 65535:
        raise ValueError("%s: %s is not a port, 1 to 65535" % (shown(url), shown(digits)))
    if not host:
        raise ValueError("%s names no host" % shown(url))
    return Url(scheme, host.lower(), port, "/" + path if path.startswith("?") else path)


def split_place(place):
    """(host, ":" or "", what follows it) of HOST, HOST:PORT, IPV6, [IPV6] and [IPV6]:PORT; judges none of them."""
    if place.startswith("["):
        host, _, rest = place[1:].partition("]")
        return host, rest[:1], rest[1:]
    return (place, "", "") if place.count(":") > 1 else place.partition(":")


def join_place(host, port):
    """HOST:PORT, or HOST alone where there is no port; an IPv6 address in brackets."""
    return ("[%s]" % host if ":" in host else host) + (":%d" % port if port else "")


def is_address(host):
    """Whether that is an IPv4 or IPv6 address by number."""
    try:
        inet_pton(AF_INET6 if ":" in host else AF_INET, host)
        return True
    except (OSError, ValueError):
        return False
