"""Builds the TypeScript client with one version of the Vercel AI SDK, its agent under test and its example.

A copy is built, since the client itself does without the SDK: users bring theirs, as a peer. The types are checked
against that version, too.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
CLIENT = REPOSITORY / "clients" / "typescript"
SOURCES = (REPOSITORY / "tests" / "stacks" / "ai_sdk_agent.ts", REPOSITORY / "examples" / "stacks" / "ai_sdk_run.ts")
STACK = "ai-sdk"
FOLDER_VARIABLE = "SOJOURN_AI_SDK"
"""Names the folder of a build; without it the tests of this stack are skipped."""


def oldest() -> str:
    """The oldest version that the client's package supports."""
    package = json.loads((CLIENT / "package.json").read_text("utf-8"))
    return str(package["peerDependencies"]["ai"]).removeprefix(">=")


def built(directory: Path, version: str) -> tuple[Path, str]:
    """The folder of a build, and the version found for one such as "5" or "latest". Raises CalledProcessError."""
    folder = directory / "clients" / "typescript"
    shutil.copytree(CLIENT, folder, ignore=shutil.ignore_patterns("node_modules", "dist", "generated"))
    (directory / "proto").symlink_to(REPOSITORY / "proto")
    (folder / "stacks").mkdir()
    for source in SOURCES:
        shutil.copy(source, folder / "stacks")
    _change(folder / "tsconfig.json", include=["src", "stacks"])
    _change(folder / "package.json", dependencies={"ai": version, "zod": "4"}, peerDependencies={})
    _npm(folder, "install", "--no-audit", "--no-fund", "--silent")
    _npm(folder, "run", "build")
    package = json.loads((folder / "node_modules" / "ai" / "package.json").read_text("utf-8"))
    return folder, str(package["version"])


def _change(file: Path, **changes: Any) -> None:
    """Puts values into a file of JSON: into its objects, or in place of what is there."""
    content = json.loads(file.read_text("utf-8"))
    for key, value in changes.items():
        content[key] = {**content[key], **value} if value and isinstance(value, dict) else value
    file.write_text(json.dumps(content))


def _npm(folder: Path, *arguments: str) -> None:
    subprocess.run(["npm", *arguments], cwd=folder, check=True)
