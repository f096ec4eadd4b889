"""Tests of what ``deploy/`` holds, as far as it goes without a cluster."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from recsys.answer import RankedItem, RankedList, ServiceLevel
from serving.call import Call
from serving.client import SERVICE_CONFIG
from serving.metrics import CallMetrics, watch
from serving.server import LIVENESS, READINESS
from serving.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
YAML_FILES = sorted([*DEPLOY.glob("*.y*ml"), *KUBERNETES.glob("*.yaml")])
_NAME = re.compile(r"\b(?:recsys|process)_[a-z_]+\b")


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def exported() -> set[str]:
    """Name of every sample that a server exports once it has seen every kind of call."""
    registry = CollectorRegistry()
    metrics = CallMetrics(registry)
    watch(
        registry,
        worker=0,
        model_version=lambda: "v",
        num_running=lambda: 0,
        num_unobserved=lambda: 0,
        num_refused=lambda: 0,
        breaker_is_open=lambda: False,
        num_unreadable_states=lambda: 0,
        blurb_reads=lambda: (0, False),
        backlog=lambda: (0, 0),
        substitutions=lambda: {"e": 1},
    )
    for items in ((RankedItem("a", 1.0),), ()):
        ranked = RankedList(items, ServiceLevel.FULL, "v", degraded_reasons=("unknown_user",))
        call = Call("/s/Recommend", (), "id", status="OK", placement="home", answer=ranked)
        call.arms = (("e", "control"),)
        call.stages.append(("state", 0.0, 1.0))
        call.outcomes.update(["ACCEPTED"])
        call.blurbs = Counter({("GENERATED", "FRESH"): 1})
        metrics(call)
        metrics(replace(call, is_later_page=True))
    return {sample.name for family in registry.collect() for sample in family.samples}


def panels() -> Iterator[dict[str, Any]]:
    yield from json.loads((DEPLOY / "grafana" / "recsys.json").read_text(encoding="utf-8"))["panels"]


def expressions() -> Iterator[tuple[str, str]]:
    """Every query that we ship, with where it stands."""
    for panel in panels():
        yield from ((panel["title"], target["expr"]) for target in panel.get("targets", ()))
    for group in read(DEPLOY / "alerts.yml")["groups"]:
        yield from ((rule["alert"], rule["expr"]) for rule in group["rules"])


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.name)
def test_every_file_is_yaml(path: Path) -> None:
    assert isinstance(read(path), dict)


@pytest.mark.parametrize(("where", "query"), list(expressions()))
def test_every_query_asks_for_what_is_exported(where: str, query: str) -> None:
    names = set(_NAME.findall(re.sub(r'"[^"]*"', '""', query)))
    assert names or query.startswith("up{"), where
    assert names <= exported(), where
    assert query.count("(") == query.count(")"), where


def test_the_dashboard_shows_every_metric() -> None:
    shown = " ".join(query for _, query in expressions())
    suffixes = re.compile(r"_(bucket|sum|count|created)$")
    missing = {
        name for name in exported() if name.startswith("recsys_") and suffixes.sub("", name) not in shown
    }
    assert not missing


def test_panels_do_not_overlap() -> None:
    taken = [
        (panel["gridPos"]["x"] + dx, panel["gridPos"]["y"] + dy)
        for panel in panels()
        for dx in range(panel["gridPos"]["w"])
        for dy in range(panel["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken)


def test_every_alert_has_its_paragraph() -> None:
    runbook = (DEPLOY.parent / "docs" / "operations.md").read_text(encoding="utf-8")
    rules = [rule for group in read(DEPLOY / "alerts.yml")["groups"] for rule in group["rules"]]
    assert rules
    for rule in rules:
        assert f"**{rule['alert']}**" in runbook
        assert rule["labels"]["severity"] in {"page", "ticket"}


def test_the_manifests_fit_together() -> None:
    files = read(KUBERNETES / "kustomization.yaml")["resources"]
    assert set(files) == {path.name for path in KUBERNETES.glob("*.yaml")} - {
        "kustomization.yaml",
        "secret.example.yaml",
    }
    by_kind = {made["kind"]: made for made in (read(KUBERNETES / name) for name in files)}
    template = by_kind["Deployment"]["spec"]["template"]
    labels = template["metadata"]["labels"]
    for selector in (
        by_kind["Deployment"]["spec"]["selector"]["matchLabels"],
        by_kind["Service"]["spec"]["selector"],
        by_kind["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        by_kind["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    [container] = template["spec"]["containers"]
    named = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {port["targetPort"] for port in by_kind["Service"]["spec"]["ports"]} <= named.keys()
    environment = by_kind["ConfigMap"]["data"]
    assert named == {
        "grpc": int(environment["RECSYS_PORT"]), "metrics": int(environment["RECSYS_METRICS_PORT"])
    }  # fmt: skip
    assert by_kind["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == "recsys"


def test_a_pod_has_time_to_drain() -> None:
    environment = read(KUBERNETES / "configmap.yaml")["data"]
    spec = read(KUBERNETES / "deployment.yaml")["spec"]["template"]["spec"]
    stopping = float(environment["RECSYS_DRAIN_SECONDS"]) + float(environment["RECSYS_GRACE_SECONDS"])
    assert spec["terminationGracePeriodSeconds"] >= stopping + 30
    probes = spec["containers"][0]
    assert probes["livenessProbe"]["grpc"]["service"] == LIVENESS
    assert probes["readinessProbe"]["grpc"]["service"] == READINESS
    noticed = probes["readinessProbe"]["periodSeconds"] * probes["readinessProbe"]["failureThreshold"]
    assert noticed < float(environment["RECSYS_DRAIN_SECONDS"])


def test_the_configuration_is_one_that_the_server_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = read(KUBERNETES / "configmap.yaml")["data"]
    known = {f"RECSYS_{name.upper()}" for name in Settings.model_fields} | {"RECSYS_LOG_FORMAT"}
    assert environment.keys() <= known
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Settings().metrics_port == 9464


def test_envoy_retries_as_the_service_config_says() -> None:
    envoy = read(DEPLOY / "envoy.yaml")["static_resources"]
    [chain] = envoy["listeners"][0]["filter_chains"]
    [host] = chain["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]
    [method] = json.loads(SERVICE_CONFIG)["methodConfig"]
    policy, routes = method["retryPolicy"], host["routes"]
    for route in routes:
        service = next(iter(route["match"].values())).split("/")[1]
        ours = route["route"]["retry_policy"]
        conditions = set(ours["retry_on"].split(","))
        assert ours["num_retries"] == policy["maxAttempts"] - 1
        assert ours["retry_back_off"]["base_interval"] == policy["initialBackoff"]
        assert ours["retry_back_off"]["max_interval"] == policy["maxBackoff"]
        is_read = {"service": service} in method["name"]
        statuses = {code.lower() for code in policy["retryableStatusCodes"]}
        assert conditions & statuses == (statuses if is_read else set())
        assert is_read or conditions == {"connect-failure", "refused-stream", "reset-before-request"}
    [cluster] = envoy["clusters"]
    assert cluster["health_checks"][0]["grpc_health_check"]["service_name"] == READINESS


def test_the_container_runs_as_nobody_special_and_knows_its_probe() -> None:
    lines = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    assert re.search(r"^USER 10001$", lines, re.MULTILINE)
    assert '"recsys", "health"' in lines
    assert "ARG EXTRAS=serving,otel\n" in lines
