"""Store URLs: what is refused, and that no refusal repeats what was written."""

from __future__ import annotations

import traceback

import pytest

from chassis.store_url import connection_factory


@pytest.mark.parametrize(
    "url",
    [
        "redis://store.test",
        "redis://store.test:6380/3",
        "redis://user:p%2Fss@store.test:6380/3",
        "rediss://store.test?ssl_cert_reqs=required&ssl_check_hostname=True",
        "unix:///run/store.sock",
        "unix://user:pass@/run/store.sock?db=2",
        "redis://[::1]:6379",
    ],
)
def test_url_of_a_store_makes_a_connection_that_never_retries(url):
    connection = connection_factory(url, 1.0)()
    assert connection.retry.get_retries() == 0
    assert connection.socket_timeout is None
    assert connection.protocol == 2


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory:",
        "http://hunter2.test",
        "redis:hunter2",
        "redis://",
        "redis:///0",
        "redis://user:hunter2/x@store.test",
        "redis://user:hunter2#x@store.test",
        "redis://store.test:hunter2",
        "redis://store.test:99999",
        "redis://store.test/hunter2",
        "redis://store.test/1/2",
        "redis://store.test?db=hunter2",
        "redis://store.test?db=1&db=2",
        "redis://store.test?retry_on_timeout=true",
        "redis://store.test?protocol=3",
        "redis://store.test?connection_class=hunter2",
        "redis://store.test?hunter2",
        "redis://store.test?ssl_ca_certs=hunter2",
        "rediss://store.test?ssl_cert_reqs=hunter2",
        "redis://[::1",
        "unix://hunter2/run/store.sock",
        "unix://",
        "unix:///",
    ],
)
def test_url_that_is_not_understood_is_refused_without_repeating_it(url):
    with pytest.raises(ValueError, match=r"^store URL: ") as caught:
        connection_factory(url, 1.0)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)).replace("connection_factory(url", "")


@pytest.mark.parametrize(
    "option", ["ssl_cert_reqs=none", "ssl_cert_reqs=optional", "ssl_check_hostname=false", "ssl_check_hostname=0"]
)
def test_certificate_of_the_store_is_always_checked(option):
    with pytest.raises(ValueError, match="must not switch off the check"):
        connection_factory(f"rediss://store.test?{option}", 1.0)
