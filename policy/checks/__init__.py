"""What is checked across files, after every file has its shape; one module a file of the set."""

from __future__ import annotations

from policy.checks.binding import check_binding
from policy.checks.grants import check_grants
from policy.checks.introspection import check_introspection
from policy.checks.merchants import check_merchants
from policy.checks.profiles import check_profiles
from policy.checks.providers import check_providers
from policy.checks.quota_tests import check_quota_tests
from policy.checks.quotas import check_quotas
from policy.checks.rates import check_rates
from policy.checks.risk import check_risk
from policy.checks.routes import check_routes
from policy.checks.signatures import check_signatures
from policy.parts import Parts

__all__ = ["check_across"]


def check_across(parts: Parts) -> None:
    """Add every problem that a single file's shape does not show."""
    check_providers(parts)
    check_profiles(parts)
    check_routes(parts)
    check_grants(parts)
    check_binding(parts)
    check_signatures(parts)
    check_introspection(parts)
    check_merchants(parts)
    check_quotas(parts)
    check_rates(parts)
    check_quota_tests(parts)
    check_risk(parts)
