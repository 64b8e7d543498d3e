"""The chart: linted by Helm, sound by Kubernetes' own schemas, and what it renders does what its values say."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.configuration import settings_in_effect
from tests.deploy.envoy import ROOT
from tests.deploy.helm import (
    BUILD_S,
    CHART,
    DEFAULTS,
    NAMESPACE,
    RELEASE,
    VALUE_SETS,
    Manifest,
    chosen,
    helm,
    merged,
    of_kind,
    pod,
    ports_of,
    rendered,
    router,
    selects,
    workload,
)

OLDEST, NEWEST = "1.30", "1.37"
OPERATORS = {"ServiceMonitor": "monitoring.coreos.com/v1", "PrometheusRule": "monitoring.coreos.com/v1"}
"""Kinds that Kubernetes itself does not know."""

pytestmark = pytest.mark.timeout(BUILD_S + 120)  # whoever comes first may have to build Helm
every_set = pytest.mark.parametrize("values", VALUE_SETS)


def sound(manifest: Manifest, version: str) -> None:
    """Raises kubernetes_validate.ValidationError; a key that Kubernetes does not know is a mistake too."""
    kubernetes_validate.validate(manifest, version, strict=True)


def values_of(values: str) -> dict[str, Any]:
    """The values in effect."""
    defaults: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    path = VALUE_SETS[values]
    in_effect: dict[str, Any] = merged(defaults, yaml.safe_load(path.read_text()) if path else {})
    return in_effect


@every_set
def test_helm_finds_nothing_to_say(values: str):
    answer = helm("lint", "--strict", CHART, *chosen(values))
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_lint_can_fail(tmp_path: Path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("replicas: none\nspeling: true\n")
    answer = helm("lint", "--strict", CHART, "--values", wrong)
    assert answer.returncode != 0
    assert "replicas" in answer.stdout + answer.stderr
    assert "speling" in answer.stdout + answer.stderr


@every_set
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_takes_every_manifest(values: str, version: str):
    for manifest in rendered(values):
        if manifest["kind"] in OPERATORS:
            assert manifest["apiVersion"] == OPERATORS[manifest["kind"]]
        else:
            sound(manifest, version)


def test_a_key_that_kubernetes_does_not_know_is_found():
    wrong = copy.deepcopy(workload(rendered(DEFAULTS)))
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenesProbe"):
        sound(wrong, NEWEST)


@every_set
def test_every_container_is_an_ordinary_user_on_a_read_only_root(values: str):
    specs = [m["spec"] for m in of_kind(rendered(values), "Pod")] + [pod(rendered(values))["spec"]]
    for spec in specs:
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            security = container["securityContext"]
            assert security["runAsNonRoot"] is True
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert {"requests", "limits"} <= container["resources"].keys()


@every_set
def test_what_a_router_writes_to_is_mounted(values: str):
    mounts = {mount["mountPath"]: mount for mount in router(rendered(values))["volumeMounts"]}
    assert {path for path, mount in mounts.items() if not mount.get("readOnly")} == {"/tmp", "/var/lib/sojourn"}
    volumes = {volume["name"] for volume in pod(rendered(values))["spec"]["volumes"]}
    claims = {c["metadata"]["name"] for c in workload(rendered(values))["spec"].get("volumeClaimTemplates", [])}
    assert {mount["name"] for mount in mounts.values()} == volumes | claims


@every_set
def test_the_configuration_is_one_that_a_router_takes(values: str, tmp_path: Path):
    """With what the pod's environment says, the Secret's URL apart."""
    (config,) = of_kind(rendered(values), "ConfigMap")
    path = tmp_path / "sojourn.toml"
    path.write_text(config["data"]["sojourn.toml"])
    environment = {e["name"]: e.get("value", "postgresql://host/db") for e in router(rendered(values))["env"]}
    settings = settings_in_effect(path, environment)
    wanted = values_of(values)
    assert settings["server"]["address"] == f"0.0.0.0:{ports_of(router(rendered(values)))['grpc']}"
    assert settings["server"]["workers"] == wanted["workers"]
    assert settings["journal"]["kind"] == wanted["journal"]["kind"]
    assert agrees(settings, wanted["config"])


def agrees(settings: Any, wanted: Any) -> bool:
    """Whether all that is wanted is in effect."""
    if isinstance(wanted, dict):
        return all(agrees(settings[key], value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return all(agrees(a, b) for a, b in zip(settings, wanted, strict=True))
    return bool(settings == wanted)


@every_set
def test_files_that_the_configuration_names_are_mounted(values: str):
    (config,) = of_kind(rendered(values), "ConfigMap")
    wanted = values_of(values)["security"]
    named = [part for part in config["data"]["sojourn.toml"].split('"') if part.startswith("/etc/sojourn/")]
    mounts = {m["mountPath"] for m in router(rendered(values))["volumeMounts"]}
    assert all(str(Path(path).parent) in mounts for path in named)
    assert len(named) == bool(wanted["tokens"]) + 2 * bool(wanted["tls"]["secret"]) + wanted["tls"]["clientCa"]
    volumes = {v["name"]: v for v in pod(rendered(values))["spec"]["volumes"]}
    assert volumes.get("tokens", {}).get("secret", {}).get("secretName", "") == wanted["tokens"]
    assert volumes.get("tls", {}).get("secret", {}).get("secretName", "") == wanted["tls"]["secret"]


@every_set
def test_a_secret_is_named_and_never_rendered(values: str):
    assert of_kind(rendered(values), "Secret") == []
    environment = {e["name"]: e for e in router(rendered(values))["env"]}
    dsn = environment.get("SOJOURN_JOURNAL__DSN")
    assert (dsn is not None) == (values_of(values)["journal"]["kind"] == "postgres")
    if dsn:
        assert dsn["valueFrom"]["secretKeyRef"] == {"name": "sojourn-postgres", "key": "dsn"}


@every_set
def test_probes_ask_the_service_that_is_meant(values: str):
    container = router(rendered(values))
    probes = {name: container[f"{name}Probe"] for name in ("startup", "readiness", "liveness")}
    services = {"startup": "liveness", "readiness": "sojourn.v1.RouterService", "liveness": "liveness"}
    for name, probe in probes.items():
        if values_of(values)["security"]["tls"]["secret"]:  # Kubernetes' gRPC probe speaks no TLS
            assert probe["tcpSocket"] == {"port": "grpc"}
        else:
            assert probe["grpc"] == {"port": ports_of(container)["grpc"], "service": services[name]}
    patience = {name: probe["periodSeconds"] * probe["failureThreshold"] for name, probe in probes.items()}
    assert patience["readiness"] <= 10 < 60 <= patience["liveness"] < patience["startup"]


@every_set
def test_a_pod_has_more_time_to_end_than_its_drain_takes(values: str):
    spec, wanted = pod(rendered(values))["spec"], values_of(values)
    needed = wanted["preStopSeconds"] + wanted["config"]["server"]["drain_ms"] / 1000
    assert needed + 10 <= spec["terminationGracePeriodSeconds"] <= needed + 30
    slept = router(rendered(values)).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert slept == wanted["preStopSeconds"]


@every_set
def test_everything_selects_the_routers_pods_and_no_others(values: str):
    manifests = rendered(values)
    labels = pod(manifests)["metadata"]["labels"]
    selectors = [m["spec"]["selector"] for m in of_kind(manifests, "Service")]
    selectors += [m["spec"]["selector"]["matchLabels"] for m in of_kind(manifests, "PodDisruptionBudget")]
    selectors += [m["spec"]["podSelector"]["matchLabels"] for m in of_kind(manifests, "NetworkPolicy")]
    selectors += [workload(manifests)["spec"]["selector"]["matchLabels"]]
    selectors += [
        c["labelSelector"]["matchLabels"] for c in pod(manifests)["spec"].get("topologySpreadConstraints", [])
    ]
    assert all(selects(selector, labels) for selector in selectors)
    others = [m["metadata"]["labels"] for m in of_kind(manifests, "Pod")]
    assert not any(selects(selector, other) for selector in selectors for other in others)


@every_set
def test_a_services_ports_are_the_containers(values: str):
    ports = ports_of(router(rendered(values)))
    for service in of_kind(rendered(values), "Service"):
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports.keys()
    (headless,) = (s for s in of_kind(rendered(values), "Service") if s["spec"].get("clusterIP") == "None")
    assert {port["name"]: port["port"] for port in headless["spec"]["ports"]} == ports
    if workload(rendered(values))["kind"] == "StatefulSet":
        assert workload(rendered(values))["spec"]["serviceName"] == headless["metadata"]["name"]


@every_set
def test_the_network_lets_in_to_those_ports_and_no_others(values: str):
    policies = of_kind(rendered(values), "NetworkPolicy")
    wanted = values_of(values)["networkPolicy"]
    assert len(policies) == wanted["enabled"]
    for policy in policies:
        allowed = {port["port"]: rule["from"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        ports = ports_of(router(rendered(values)))
        assert allowed.keys() == set(ports.values())
        assert allowed.pop(ports["grpc"]) == wanted["callers"]
        assert all(peers == wanted["scrapers"] for peers in allowed.values())
        out = {port["port"]: rule.get("to") for rule in policy["spec"]["egress"] for port in rule.get("ports", [])}
        assert 53 in out
        assert (wanted["databasePort"] in out) == (values_of(values)["journal"]["kind"] == "postgres")
        assert out.get(wanted["databasePort"]) == (wanted["database"] or None)


@every_set
def test_maintenance_takes_one_pod_at_a_time(values: str):
    budgets = of_kind(rendered(values), "PodDisruptionBudget")
    wanted = values_of(values)["disruption"]
    assert [b["spec"]["maxUnavailable"] for b in budgets] == [wanted["maxUnavailable"]] * wanted["enabled"]


@every_set
def test_what_scales_is_there_and_its_count_is_left_to_the_autoscaler(values: str):
    scalers = of_kind(rendered(values), "HorizontalPodAutoscaler")
    wanted = values_of(values)["autoscaling"]
    assert len(scalers) == wanted["enabled"]
    assert ("replicas" in workload(rendered(values))["spec"]) != wanted["enabled"]
    for scaler in scalers:
        target, found = scaler["spec"]["scaleTargetRef"], workload(rendered(values))
        assert (target["apiVersion"], target["kind"]) == (found["apiVersion"], found["kind"])
        assert target["name"] == found["metadata"]["name"]
        assert scaler["spec"]["minReplicas"] <= scaler["spec"]["maxReplicas"]
        (metric,) = scaler["spec"]["metrics"]
        assert metric["pods"]["metric"] == {"name": wanted["metric"]}
        assert metric["pods"]["target"]["averageValue"] == str(wanted["decisionsPerSecond"])


@every_set
def test_prometheus_finds_each_pod_once_and_each_of_its_ports(values: str):
    monitors = of_kind(rendered(values), "ServiceMonitor")
    assert len(monitors) == values_of(values)["metrics"]["serviceMonitor"]["enabled"]
    for monitor in monitors:
        selector = monitor["spec"]["selector"]["matchLabels"]
        services = [s for s in of_kind(rendered(values), "Service") if selects(selector, s["metadata"]["labels"])]
        (service,) = services
        assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]].startswith("sojourn")  # what alerts look for
        scraped = [endpoint["port"] for endpoint in monitor["spec"]["endpoints"]]
        assert scraped == [p["name"] for p in service["spec"]["ports"] if p["name"] != "grpc"]


@every_set
def test_there_is_a_metrics_port_for_each_process(values: str):
    wanted = values_of(values)
    ports = [port for name, port in ports_of(router(rendered(values))).items() if name != "grpc"]
    count = 1 if wanted["workers"] == 1 else wanted["workers"] + 1  # the learner's, then the deciders'
    first = wanted["metrics"]["port"]
    assert ports == (list(range(first, first + count)) if wanted["metrics"]["enabled"] else [])
    environment = {e["name"]: e.get("value") for e in router(rendered(values))["env"]}
    assert environment.get("OTEL_EXPORTER_PROMETHEUS_PORT") == (str(first) if ports else None)


def test_alerts_come_through_as_they_are():
    alerts = ROOT / "deploy" / "prometheus" / "alerts.yml"
    file = f"metrics.prometheusRule.file={alerts}"
    (rule,) = of_kind(
        rendered(DEFAULTS, "--set", "metrics.prometheusRule.enabled=true", "--set-file", file), "PrometheusRule"
    )
    assert rule["spec"] == yaml.safe_load(alerts.read_text())


def test_sqlite_has_one_router_with_a_volume():
    found = workload(rendered("sqlite"))
    assert (found["kind"], found["spec"]["replicas"]) == ("StatefulSet", 1)
    (claim,) = found["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"] == {"requests": {"storage": "50Gi"}}
    assert claim["spec"]["storageClassName"] == "fast"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("journal.kind=sqlite", "autoscaling.enabled=true"), "SQLite has one router"),
        (("metrics.enabled=false", "metrics.serviceMonitor.enabled=true"), "needs metrics.enabled"),
        (("metrics.prometheusRule.enabled=true",), "--set-file"),
        (("config.server.address=0.0.0.0:1",), "address"),
        (("config.journal.dsn=postgresql://a:b@c/d",), "dsn"),
        (("config.loging.level=debug",), "loging"),
    ],
)
def test_what_does_not_fit_together_is_refused(options: tuple[str, ...], said: str):
    answer = helm("template", RELEASE, CHART, *(word for option in options for word in ("--set", option)))
    assert answer.returncode != 0
    assert said in answer.stderr


def test_a_change_of_the_configuration_makes_new_pods():
    before = pod(rendered(DEFAULTS))["metadata"]["annotations"]
    after = pod(rendered(DEFAULTS, "--set", "config.log.level=debug"))["metadata"]["annotations"]
    assert before["checksum/config"] != after["checksum/config"]


def test_the_chart_s_own_test_asks_the_service_for_its_health():
    (asked,) = of_kind(rendered(DEFAULTS), "Pod")
    (container,) = asked["spec"]["containers"]
    service = next(s for s in of_kind(rendered(DEFAULTS), "Service") if s["spec"].get("clusterIP") != "None")
    address = f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert container["args"] == ["health", "--address", address]
    assert container["image"] == router(rendered(DEFAULTS))["image"]


def test_two_releases_share_no_name():
    names = {(m["kind"], m["metadata"]["name"]) for m in rendered(DEFAULTS)}
    other = helm("template", "staging", CHART, "--namespace", NAMESPACE).stdout
    assert names.isdisjoint((m["kind"], m["metadata"]["name"]) for m in yaml.safe_load_all(other) if m)
