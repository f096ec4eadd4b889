"""What Kubernetes itself knows of is as its own schemas say."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
FILES = sorted(
    [*DEPLOY.glob("cluster/*.yaml"), *DEPLOY.glob("kubernetes/*.yaml"), *DEPLOY.glob("state-*.yaml")]
)
_OTHERS = ("kustomize.config.k8s.io/", "kafka.strimzi.io/", "ray.io/")
"""API groups that Kubernetes does not know of itself."""


def documents(path: Path) -> Iterator[dict[str, Any]]:
    """All that a file declares, and the pods of what Kubernetes does not know."""
    for one in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        for inner in one["items"] if one["kind"] == "List" else [one]:
            if inner["apiVersion"].startswith(_OTHERS):
                yield from _pods(inner)
            else:
                yield inner


def _pods(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("spec"), dict) and "containers" in value["spec"]:
            yield {"apiVersion": "v1", "kind": "Pod", **value}
        for inner in value.values():
            yield from _pods(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _pods(inner)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the package's own dependencies
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_document_is_one_that_kubernetes_takes(path: Path) -> None:
    for one in documents(path):
        kubernetes_validate.validate(one, "1.37", strict=True)


def test_a_misspelled_field_is_found() -> None:
    [deployment] = [one for one in documents(DEPLOY / "cluster/server.yaml") if one["kind"] == "Deployment"]
    deployment["spec"]["template"]["spec"]["container"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, "1.37", strict=True)
