"""Names of descriptors' counters in a real store: hashed with the operator's key, whole over a rotation of keys."""

from __future__ import annotations

import base64

import pytest

from helpers.descriptor_service import SHOP, call, descriptor_service, descriptor_settings, limit_request
from helpers.valkey import SERVERS, administrator, running
from protos import envoy_wire_pb2 as wire

OK = wire.RateLimitResponse.OK
OLD = f"old {base64.b64encode(bytes(range(32))).decode()}\n"
NEW = f"new {base64.b64encode(bytes(range(1, 33))).decode()}\n"
ADDRESS = "203.0.113.7"


def key_file(tmp_path, name: str, text: str) -> str:
    path = tmp_path / name
    path.touch(mode=0o600)
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("compat", ["", "envoyproxy"])
@pytest.mark.parametrize("server", SERVERS)
async def test_store_shows_no_value_of_a_request(tmp_path, server, compat):
    async with running(server) as running_store:
        url = running_store.url
        keys = key_file(tmp_path, "keys", NEW)
        how = {"descriptors_compat": compat, "store": url, "descriptor_key_file": keys}
        async with descriptor_service(descriptor_settings(tmp_path, SHOP, **how)) as service:
            assert (await call(service, limit_request("shop", {"user": ADDRESS}))).overall_code == OK
            assert not any("in clear" in warning for warning in service.readiness().warnings)
        async with administrator(url) as store:
            names = [name.decode() for name in await store.keys("*")]
        assert any(".".join(name.rsplit(":", 1)[1].split(".")[:1]) == "new" for name in names)
        assert not any(ADDRESS in name for name in names)


async def test_operator_is_told_that_names_are_in_clear(tmp_path):
    async with running() as running_store:
        url = running_store.url
        async with descriptor_service(descriptor_settings(tmp_path, SHOP, store=url)) as service:
            assert any("in clear" in warning for warning in service.readiness().warnings)


@pytest.mark.parametrize("compat", ["", "envoyproxy"])
async def test_limit_holds_while_replicas_change_from_one_key_to_the_next(tmp_path, compat):
    async with running() as running_store:
        url = running_store.url
        old, both = key_file(tmp_path, "old", OLD), key_file(tmp_path, "both", NEW + OLD)

        def replica(name: str, keys: str):
            (tmp_path / name).mkdir()
            how = {"descriptors_compat": compat, "store": url, "descriptor_key_file": keys}
            return descriptor_service(descriptor_settings(tmp_path / name, SHOP, **how))

        async with replica("a", old) as before, replica("b", both) as after:
            request = limit_request("shop", {"user": "u"})
            answers = [(await call(service, request)).overall_code for service in (before, after) * 4]
            passed = answers.count(OK)
            async with replica("c", both) as alone:
                answers = [(await call(alone, request)).overall_code for _ in range(2)]
        async with replica("d", old) as whole:
            assert (await call(whole, request)).overall_code != OK
        assert (passed, answers.count(OK)) == (3, 0)
