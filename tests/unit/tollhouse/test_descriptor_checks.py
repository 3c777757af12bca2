"""Settings of descriptors that mean nothing, or promise what does not hold, are refused before anything starts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policy.settings import ServiceSettings
from tollhouse.descriptor_checks import check_descriptor_settings

PLAIN = ServiceSettings(policies="", descriptors="/rules", store="redis://127.0.0.1:1/0")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unknown_domain": "maybe"}, "--unknown-domain"),
        ({"descriptors_on_store_failure": "ignore"}, "--descriptors-on-store-failure"),
        ({"descriptor_key_prefix": "a b"}, "--counter-prefix"),
        ({"limit_headers": "a,b"}, "--limit-headers"),
        ({"limit_headers": "a,b,b"}, "--limit-headers"),
        ({"limit_headers": "a,b,c d"}, "--limit-headers"),
        ({"stop_increment_when_over": True}, "--compat"),
        ({"json_listen": "0.0.0.0:8080"}, "--json-listen"),
        ({"store_per_second": "http://x"}, "--store-per-second"),
        ({"store_per_second": "memory:"}, "--single-replica"),
        ({"store_per_second": "redis://:geheim@127.0.0.1:1/0"}, "password"),
    ],
)
def test_setting_is_refused_by_its_option_and_without_secrets(changes, said):
    with pytest.raises(ValueError, match=said) as caught:
        check_descriptor_settings("ratelimit", replace(PLAIN, **changes))
    assert "geheim" not in str(caught.value)


def test_cluster_and_counting_all_at_once_do_not_go_together():
    changes = {"descriptors_compat": "envoyproxy", "stop_increment_when_over": True}
    check_descriptor_settings("ratelimit", replace(PLAIN, **changes))
    with pytest.raises(ValueError, match="cluster"):
        check_descriptor_settings("ratelimit", replace(PLAIN, store="redis+cluster://127.0.0.1:1", **changes))


@pytest.mark.parametrize(
    ("changes", "flag"), [({"shadow_mode": True}, "--shadow-mode"), ({"local_cache_size": 5}, "--local-cache-size")]
)
def test_extauthz_takes_none_of_them(changes, flag):
    check_descriptor_settings("extauthz", ServiceSettings(policies="/set"))
    with pytest.raises(ValueError, match=flag):
        check_descriptor_settings("extauthz", ServiceSettings(policies="/set", **changes))


def test_good_settings_pass():
    good = {"limit_headers": "X-Limit, X-Remaining, X-Reset", "json_listen": "127.0.0.1:0", "unknown_domain": "allow"}
    check_descriptor_settings("ratelimit", replace(PLAIN, **good))
