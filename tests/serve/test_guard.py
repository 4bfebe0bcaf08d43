"""Who is let in: names that cannot be another site's, and the token away from home."""

import pytest

from agentprm.serve.guard import Guard, is_loopback

AT_HOME = ["127.0.0.1", "127.0.0.1:8420", "localhost", "LOCALHOST:80", "[::1]:8420", "localhost.:8420", "127.8.9.1"]
ELSEWHERE = ["evil.example", "evil.example:8420", "127.0.0.1.evil.example", "localhost.evil.example", "", None,
             "10.0.0.1", "[::2]", "[", "]", "::1.evil", "0x7f.1", "localhost@evil.example", "\x00"]  # fmt: skip


@pytest.mark.parametrize("host", AT_HOME)
def test_loopback_is_known_by_its_own_names(host):
    assert Guard("127.0.0.1").knows_host(host)


@pytest.mark.parametrize("host", ELSEWHERE, ids=repr)
def test_another_name_is_not(host):
    assert not Guard("127.0.0.1").knows_host(host)


def test_bound_elsewhere_addresses_are_known_and_names_only_when_named():
    guard = Guard("0.0.0.0", names=("lab.example",))
    assert guard.knows_host("10.0.0.1:8420")
    assert guard.knows_host("LAB.example:8420")
    assert not guard.knows_host("evil.example")
    assert Guard("lab.example").knows_host("lab.example:1")


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "::", "lab.example"])
def test_away_from_home_a_token_is_made(host):
    first, second = Guard(host), Guard(host)
    assert len(first.token) >= 32
    assert first.token != second.token
    assert not first.lets_in({}, "c")
    assert first.lets_in({"Authorization": f"Bearer {first.token}"}, "c")
    assert first.lets_in({"Cookie": f"a=b; c={first.token}"}, "c")
    assert not first.lets_in({"Cookie": f"c={second.token}"}, "c")
    assert first.token not in repr(first)


@pytest.mark.parametrize("cookie", ["", "c=", "c", ";;;", "c=\ud800", "=x", "c=é", 'c="\\"'])
def test_a_strange_cookie_lets_nobody_in(cookie):
    assert not Guard("0.0.0.0").lets_in({"Cookie": cookie}, "c")


def test_at_home_no_token_is_asked():
    assert Guard("127.0.0.1").token == ""
    assert Guard("127.0.0.1").lets_in({}, "c")
    assert not Guard("127.0.0.1").is_token(""), "no token is not an empty one"


def test_what_is_loopback():
    assert [is_loopback(h) for h in ("::1", "127.1.2.3", "localhost", "0.0.0.0", "evil.localhost")] == [True] * 3 + [
        False
    ] * 2
