"""The languages that have a client: what each needs on the machine, how its runner is built, how it is started.

A toolchain that is missing is installed by apt where that is possible (as root, in CI), where Debian's is new enough.
Builds use the lock files; what they fetch, they fetch from the package registries.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CLIENTS = HERE.parents[1] / "clients"
REPOSITORY = CLIENTS.parent
BUILD_WITHIN_S = 900.0
_JAVA_CLASSES = os.pathsep.join(("target/classes", "target/test-classes", "target/dependency/*"))


class BuildFailed(Exception):
    """A command of a build ended badly; the message has the end of what it printed."""


@dataclass(frozen=True)
class Language:
    """A language: `tools` must be on the path and `files` be there; `apt` brings them where Debian's are new enough.

    `build` and `run` are commands inside the client's folder. A language that is `slow_to_build` compiles for minutes
    when its caches are empty, so the tests play it only when they are asked to.
    """

    name: str
    title: str
    run: tuple[str, ...]
    build: tuple[tuple[str, ...], ...] = ()
    tools: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    apt: tuple[str, ...] = ()
    slow_to_build: bool = False

    @property
    def folder(self) -> Path:
        """Where the client lives."""
        return CLIENTS / self.name

    def is_wanted(self) -> bool:
        """Whether a test should play it: SOJOURN_LANGUAGES names it or is "all"; else unless slow to build."""
        wanted = os.environ.get("SOJOURN_LANGUAGES", "")
        return wanted == "all" or (self.name in wanted.split(",") if wanted else not self.slow_to_build)

    def missing(self) -> list[str]:
        """Tools and files that the machine lacks."""
        tools = [tool for tool in self.tools if not shutil.which(tool)]
        return tools + [file for file in self.files if not Path(file).exists()]

    def prepare(self) -> list[str]:
        """Installs what is missing, in CI or where apt may be used, and returns what is missing still."""
        if self.missing() and self.apt and os.environ.get("CI") == "true" and os.geteuid() == 0:
            _run(("apt-get", "update", "-qq"), REPOSITORY)
            _run(("apt-get", "install", "-y", "-qq", "--no-install-recommends", *self.apt), REPOSITORY)
        return self.missing()

    def make(self) -> None:
        """Builds the runner. Raises BuildFailed."""
        for command in self.build:
            _run(command, self.folder)


def _run(command: tuple[str, ...], directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=BUILD_WITHIN_S, check=False)
    if done.returncode:
        raise BuildFailed(f"{' '.join(command)}:\n{(done.stdout + done.stderr)[-4_000:]}")


LANGUAGES = {
    language.name: language
    for language in (
        Language("python", "Python", run=(sys.executable, str(HERE / "python_runner.py"))),
        Language(
            "typescript",
            "TypeScript",
            tools=("node", "npm"),
            build=(("npm", "ci", "--no-audit", "--no-fund"), ("npm", "run", "build")),
            run=("node", "dist/test/runner.js"),
            apt=("nodejs", "npm"),
        ),
        Language(
            "go",
            "Go",
            tools=("go",),
            build=(("go", "vet", "./..."), ("go", "build", "-o", "build/runner", "./internal/runner")),
            run=("build/runner",),
        ),
        Language(
            "rust",
            "Rust",
            tools=("cargo", "rustc", "cc"),
            build=(("cargo", "build", "--quiet", "--locked", "--example", "runner"),),
            run=("target/debug/examples/runner",),
            slow_to_build=True,
        ),
        Language(
            "java",
            "Java",
            tools=("javac", "mvn"),
            build=(("mvn", "--quiet", "--batch-mode", "test-compile", "dependency:copy-dependencies"),),
            run=("java", "-cp", _JAVA_CLASSES, "io.github.sojournrouter.Runner"),
        ),
        Language(
            "cpp",
            "C++",
            tools=("cmake", "make", "c++", "protoc", "grpc_cpp_plugin"),
            files=("/usr/include/grpcpp/grpcpp.h", "/usr/include/google/protobuf/message.h"),
            build=(("cmake", "-S", ".", "-B", "build"), ("cmake", "--build", "build", "--target", "runner")),
            run=("build/runner",),
            apt=("cmake", "make", "g++", "libgrpc++-dev", "libprotobuf-dev", "protobuf-compiler-grpc"),
        ),
    )
}
"""By the names of their folders, in the order in which they are shown."""
