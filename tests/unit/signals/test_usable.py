"""What can never be looked at is found when it is written, and named by its field."""

from dataclasses import replace

from lastgood.api.names import LookError
from lastgood.api.specs.deployment import Check
from lastgood.signals.hosts import HostPolicy, parse_rules
from lastgood.signals.kinds.http import HttpSource
from lastgood.signals.usable import unusable
from tests.unit.core.builders import ACCURACY, HTTP, PODS, SMOKE, deployment

ELSEWHERE = HttpSource(url="http://prometheus.monitoring.svc:9090/api", timeout=HTTP.timeout)
FOREIGN: Check = replace(SMOKE, source=ELSEWHERE)


def test_what_can_be_used_is_not_named() -> None:
    assert unusable(deployment(triggers=(ACCURACY, PODS), checks=(SMOKE,)), HostPolicy()) == {}


def test_a_host_that_is_not_allowed_is_named_by_its_field() -> None:
    trigger = replace(ACCURACY, source=ELSEWHERE)
    found = unusable(deployment(triggers=(PODS, trigger), checks=(SMOKE, replace(FOREIGN, name="other"))), HostPolicy())
    assert {place: item.kind for place, item in found.items()} == {
        "trigger/accuracy": LookError.HOST_NOT_ALLOWED,
        "check/other": LookError.HOST_NOT_ALLOWED,
    }
    assert found["trigger/accuracy"].message.startswith("spec.triggers[1].http.url: host prometheus.monitoring.svc is")
    assert found["check/other"].message.startswith(
        "spec.validation.checks[1].http.url: host prometheus.monitoring.svc is"
    )
    assert "--trigger-host prometheus.monitoring.svc:9090" in found["check/other"].message


def test_an_administrator_can_allow_it() -> None:
    hosts = HostPolicy(rules=parse_rules(["prometheus.monitoring.svc:9090"]))
    assert unusable(deployment(checks=(FOREIGN,)), hosts) == {}


def test_an_expression_of_a_check_is_found_before_a_rollback_needs_it() -> None:
    """Field case 21."""
    check = replace(SMOKE, success_condition="result.accuracy > 0.9 and true")
    found = unusable(deployment(checks=(check,)), HostPolicy())["check/smoke"]
    assert found.kind is LookError.INVALID_EXPRESSION
    assert found.message.startswith("spec.validation.checks[0].successCondition: column 23: 'and'")
