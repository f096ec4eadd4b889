"""Tests of ``deploy/cluster``, as far as they go without a cluster."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.server import LIVENESS, READINESS

DEPLOY = Path(__file__).parents[2] / "deploy"
CLUSTER = DEPLOY / "cluster"
FILES = sorted(CLUSTER.glob("*.yaml"))
_UNPROBED = {"recsys-consumer", "ray-job-submitter", "ray-head", "ray-worker"}
"""Answers nobody; runs once; KubeRay probes the nodes of its clusters itself."""
_PLACEHOLDER = re.compile(r"0{32,}")


def read(name: str) -> list[dict[str, Any]]:
    """All that a file declares."""
    return list(yaml.safe_load_all((CLUSTER / name).read_text(encoding="utf-8")))


def declared() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in FILES:
        yield from ((path.name, one) for one in read(path.name))


def one_of(name: str, kind: str) -> dict[str, Any]:
    [found] = [one for one in read(name) if one["kind"] == kind]
    return found


def within(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping inside a value."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from within(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from within(inner)


def pods() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Where each pod stands, its labels, and its specification."""
    for name, one in declared():
        for inner in within(one):
            if isinstance(inner.get("spec"), dict) and "containers" in inner["spec"]:
                yield name, inner["metadata"]["labels"], inner["spec"]


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    yield from ((name, one) for name, _, spec in pods() for one in spec["containers"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_document_says_what_it_is(path: Path) -> None:
    for one in read(path.name):
        assert {"apiVersion", "kind"} <= one.keys()
        if one["kind"] != "Kustomization":
            assert one["metadata"].get("name") or one["metadata"]["generateName"]


def test_what_is_applied_together_is_all_but_operators_and_secrets() -> None:
    [kustomization] = read("kustomization.yaml")
    apart = {"kustomization.yaml", "kafka.yaml", "train.yaml", "secret.example.yaml"}
    assert set(kustomization["resources"]) == {path.name for path in FILES} - apart


def test_images_have_versions_and_containers_limits_and_no_privileges() -> None:
    found = list(containers())
    assert len(found) == 6
    for name, one in found:
        assert re.fullmatch(r"[a-z/-]+:[a-z-]*v?\d+\.\d+\.\d+", one["image"]), name
        assert {"cpu", "memory"} <= one["resources"]["requests"].keys(), name
        assert "memory" in one["resources"]["limits"], name
        assert one["securityContext"]["allowPrivilegeEscalation"] is False
        assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    for _, _, spec in pods():
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["automountServiceAccountToken"] is False


def test_whoever_answers_is_probed() -> None:
    probed = set()
    for name, labels, spec in pods():
        for one in spec["containers"]:
            if {"readinessProbe", "livenessProbe"} <= one.keys():
                probed.add(labels["app.kubernetes.io/name"])
            else:
                assert {one["name"], name.removesuffix(".yaml")} & (_UNPROBED | {"consumer"})
    assert probed == {"recsys", "recsys-envoy"}
    [server] = one_of("server.yaml", "Deployment")["spec"]["template"]["spec"]["containers"]
    assert server["readinessProbe"]["grpc"]["service"] == READINESS
    assert server["livenessProbe"]["grpc"]["service"] == LIVENESS


def test_secrets_are_referred_to_and_never_written_down() -> None:
    for name, one in declared():
        assert one["kind"] != "Secret" or name == "secret.example.yaml"
        for inner in within(one):
            for key, value in inner.items():
                if re.search(r"password|secret|token|-keys$", key, re.IGNORECASE) and isinstance(value, str):
                    is_reference = "name" in key.lower() or key in {"RECSYS_TOKENS_FILE", "tokens.toml"}
                    assert is_reference or _PLACEHOLDER.fullmatch(value), (name, key)
    [example] = read("secret.example.yaml")
    assert _PLACEHOLDER.search(example["stringData"]["tokens.toml"])
    assert "@" not in example["stringData"]["redis-url"]


def test_what_pods_refer_to_is_there() -> None:
    made = {(one["kind"], one["metadata"].get("name")) for _, one in declared() if "metadata" in one}
    given = {"recsys-kafka-cluster-ca-cert", "recsys-events"}  # by Strimzi, by the names in kafka.yaml
    assert ("Kafka", "recsys-kafka") in made
    assert ("KafkaUser", "recsys-events") in made
    [example] = read("secret.example.yaml")
    for name, _, spec in pods():
        for inner in within(spec):
            if (claim := inner.get("claimName")) is not None:
                assert ("PersistentVolumeClaim", claim) in made, name
            if (key := inner.get("secretKeyRef")) is not None:
                assert key["name"] == "recsys-cluster"
                assert key["key"] in example["stringData"]
            if (secret := inner.get("secretName")) is not None:
                assert ("Secret", secret) in made, name
            if (source := inner.get("secret")) is not None and "name" in source:
                assert source["name"] in given
            if (reference := inner.get("configMap") or inner.get("configMapRef")) is not None:
                assert reference["name"] == "recsys-envoy" or ("ConfigMap", reference["name"]) in made, name


def test_selectors_find_their_pods() -> None:
    labels = [labels for _, labels, _ in pods()]
    for name, one in declared():
        if one["kind"] not in {"Service", "PodDisruptionBudget", "NetworkPolicy", "Deployment"}:
            continue
        spec = one["spec"]
        selector = spec.get("selector") or spec.get("podSelector")
        wanted = selector.get("matchLabels", selector)
        assert any(wanted.items() <= found.items() for found in labels), (name, one["kind"])


def test_a_client_reaches_envoy_envoy_the_servers_and_servers_what_they_need() -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in read("network.yaml")}
    service = one_of("server.yaml", "Service")
    assert service["spec"]["clusterIP"] == "None"
    [envoy] = yaml.safe_load((DEPLOY / "envoy.yaml").read_text(encoding="utf-8"))["static_resources"][
        "clusters"
    ]
    [place] = envoy["load_assignment"]["endpoints"][0]["lb_endpoints"]
    reached = place["endpoint"]["address"]["socket_address"]
    assert reached == {"address": service["metadata"]["name"], "port_value": 50051}
    ports = {
        name: {port["port"] for rule in policy["ingress"] for port in rule.get("ports", ())}
        for name, policy in policies.items()
    }
    assert ports == {"recsys": {50051, 9464}, "recsys-envoy": {8080}, "recsys-training": {8265}}
    outward = {port["port"] for rule in policies["recsys"]["egress"] for port in rule["ports"]}
    [listener] = one_of("kafka.yaml", "Kafka")["spec"]["kafka"]["listeners"]
    assert listener["port"] in outward


def test_an_acknowledged_event_outlives_a_broker() -> None:
    kafka, topic = one_of("kafka.yaml", "Kafka")["spec"]["kafka"], one_of("kafka.yaml", "KafkaTopic")
    environment = read("configmap.yaml")[0]["data"]
    assert topic["metadata"]["name"] == environment["RECSYS_KAFKA_TOPIC"]
    assert topic["spec"]["replicas"] == 3 == one_of("kafka.yaml", "KafkaNodePool")["spec"]["replicas"]
    assert topic["spec"]["config"]["min.insync.replicas"] == 2 == kafka["config"]["min.insync.replicas"]
    assert kafka["config"]["unclean.leader.election.enable"] is False
    acls = one_of("kafka.yaml", "KafkaUser")["spec"]["authorization"]["acls"]
    assert [acl["resource"]["name"] for acl in acls] == [topic["metadata"]["name"], "recsys-"]
    assert all(isinstance(value, str) for value in environment.values())


def test_a_server_has_time_to_drain_and_envoy_to_notice() -> None:
    environment = read("configmap.yaml")[0]["data"]
    spec = one_of("server.yaml", "Deployment")["spec"]["template"]["spec"]
    drain = float(environment["RECSYS_DRAIN_SECONDS"])
    assert spec["terminationGracePeriodSeconds"] >= drain + float(environment["RECSYS_GRACE_SECONDS"]) + 30
    [envoy] = yaml.safe_load((DEPLOY / "envoy.yaml").read_text(encoding="utf-8"))["static_resources"][
        "clusters"
    ]
    [check] = envoy["health_checks"]
    seconds = float(check["interval"].rstrip("s")) + float(check["timeout"].rstrip("s"))
    assert check["unhealthy_threshold"] * seconds < drain


def test_training_asks_for_the_version_of_ray_that_is_tested_and_for_a_token() -> None:
    [job] = read("train.yaml")
    ray = job["spec"]["rayClusterSpec"]
    pinned = (DEPLOY.parent / "constraints.txt").read_text(encoding="utf-8")
    assert f"\nray=={ray['rayVersion']}\n" in pinned
    assert ray["authOptions"] == {"mode": "token"}
    assert job["spec"]["entrypoint"] == "recsys train --workspace /workspace --engine ray"
