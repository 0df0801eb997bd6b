"""URLs: what is in one, and what is none. (What each setting asks of its own is in settings/test_settings.py.)"""

import pytest

from citadel.settings import url


@pytest.mark.parametrize("text, parts", [
    ("http://127.0.0.1:8002/health", ("http", "127.0.0.1", 8002, "/health")),
    ("http://AM.example", ("http", "am.example", 0, "")), ("redis://[::1]:6379", ("redis", "::1", 6379, "")),
    ("http://[::1]/a", ("http", "::1", 0, "/a")), ("http://h:1?q=/", ("http", "h", 1, "/?q=/"))])
def test_a_url_is_read(text, parts):
    assert url.read(text, ("http", "redis")) == parts


@pytest.mark.parametrize("text, why", [
    ("ftp://h", "does not begin with http://"), ("http:/h", "does not begin with"), ("http://h o", "no URL has"),
    ("http://h/#x", "no URL has"), ("http://u:p@h", "no place for secrets"), ("http://::1", "is written in [ ]"),
    ("http://[1.2.3.4]", "no IPv6 address"), ("http://[::1]x", "no IPv6 address"), ("http://[::1", "no IPv6 address"),
    ("http://:80", "names no host"), ("http:///x", "names no host"), ("http://h:", "not a port"),
    ("http://h:0", "not a port"), ("http://h:65536", "not a port"), ("http://h:+1", "not a port"),
    ("http://h/" + "x" * 1024, "no URL has")])
def test_what_is_no_url(text, why):
    with pytest.raises(ValueError) as caught:
        url.read(text, ("http",))
    assert why in str(caught.value) and "p@h" not in str(caught.value) and len(str(caught.value)) < 200


@pytest.mark.parametrize("text, place", [
    ("h", ("h", "", "")), ("h:1", ("h", ":", "1")), ("::1", ("::1", "", "")), ("[::1]:2", ("::1", ":", "2"))])
def test_a_place_is_split(text, place):
    assert url.split_place(text) == place
