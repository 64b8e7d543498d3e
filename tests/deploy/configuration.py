"""What a router would make of a file and an environment, by its own `sojourn check-config`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SOJOURN = Path(sys.executable).with_name("sojourn")


def settings_in_effect(path: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """All settings; fails with every mistake if there is one."""
    command: list[str | Path] = [SOJOURN, "check-config", "--config", path, "--show", "--json"]
    variables = {"PATH": os.environ["PATH"], **environment}
    answer = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    settings: dict[str, Any] = json.loads(answer.stdout)["settings"]
    return settings
