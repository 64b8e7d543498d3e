"""What the bare client costs, measured in the environment whose Python runs this file: JSON on standard output.

Resident memory grows step by step, so that each part's share shows. Nothing is imported before it is its turn.
"""

import sys
import time


def resident_mib() -> float:
    """Resident set of this process."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - importing pathlib would be measured
        (line,) = (line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def is_third_party(name: str) -> bool:
    """Whether a package is neither Python's own nor part of how an environment starts."""
    return name not in sys.stdlib_module_names and not name.startswith("_") and name != "sitecustomize"


def main() -> None:
    """Imports, makes a client, and prints what that took."""
    grown = {"interpreter": resident_mib()}
    began = time.perf_counter()
    import grpc

    grown["grpcio"] = resident_mib()
    import google.protobuf.timestamp_pb2

    grown["protobuf"] = resident_mib()
    import sojourn

    grown["sojourn"] = resident_mib()
    imported = time.perf_counter()
    client = sojourn.Client("127.0.0.1:1")
    grown["channel"] = resident_mib()
    packages = {name.partition(".")[0] for name in sys.modules}
    import json

    measured = {
        "resident_mib": {name: round(mib, 1) for name, mib in grown.items()},
        "import_ms": round((imported - began) * 1000),
        "third_party": sorted(filter(is_third_party, packages)),
        "grpcio": grpc.__version__,
        "protobuf": google.protobuf.__version__,
        "python": sys.version.partition(" ")[0],
    }
    print(json.dumps(measured))
    client.close()


if __name__ == "__main__":
    main()
