"""Writes env.example, the list of every setting with its default, from `phoenix.settings`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from phoenix.settings import UNPREFIXED_NAMES, Settings, SettingsGroup

TARGET = Path(__file__).with_name("env.example")

HEAD = """\
# Settings of Phoenix. Copy this file to deploy/.env for compose; a value that is commented out is the default.
# Written by `make env-example` from src/phoenix/settings/settings.py.

# Only compose reads the values of this section. The password has no default: choose one, of letters and digits.
POSTGRES_PASSWORD=
# Where nginx is published. Anything but a loopback address is reachable from outside: put TLS in front of it.
# PHOENIX_PUBLISH=127.0.0.1:8080
# With --profile frames: where nginx is published for gRPC, without TLS.
# FRAMES_GRPC_PUBLISH=127.0.0.1:8091
# Largest body that nginx lets through. Keep it a little above PHOENIX_LIMITS__MAX_UPLOAD_BYTES.
# NGINX_MAX_BODY=201m
# Requests and streams of one address at a time.
# NGINX_PER_CLIENT=1000
# Proxies before nginx whose word on the client's address counts, such as: set_real_ip_from 10.0.0.5;
# NGINX_REAL_IP=
# Network of nginx and the replicas. Change it if another network of the host has these addresses.
# OUTSIDE_SUBNET=172.31.254.0/24
# Memory of one container: a replica, a worker without a GPU, a worker with GPUs, PostgreSQL.
# API_MEMORY=2g
# WORKER_MEMORY=8g
# GPU_MEMORY=64g
# POSTGRES_MEMORY=2g
# With --profile backup: seconds between two copies of the database, and how many copies stay.
# BACKUP_INTERVAL_S=86400
# BACKUP_KEEP=7
# With compose.tls.yaml: the folder of fullchain.pem and privkey.pem, and where nginx is published with TLS.
# TLS_CERTIFICATES=
# TLS_PUBLISH=443
# With compose.s3.yaml: the secret of the key of the bucket, of letters and digits, and the memory of its server.
# S3_SECRET=
# S3_MEMORY=2g
# With compose.monitoring.yaml.
# GRAFANA_PASSWORD=
# METRICS_KEY_FILE=./metrics.key
# PROMETHEUS_RETENTION=30d
# PROMETHEUS_MEMORY=2g
"""


def render() -> str:
    """The whole file."""
    return "\n".join([HEAD, *_section("PHOENIX_", Settings.model_fields.items())])


def _section(prefix: str, fields: Any) -> Iterator[str]:
    """The plain fields first, so that a group's heading does not seem to hold what follows the group."""
    groups: list[tuple[str, FieldInfo]] = []
    for name, field in fields:
        if isinstance(field.default, SettingsGroup):
            groups.append((name, field))
        else:
            yield from _setting(prefix + name.upper(), field)
    for name, field in groups:
        group = type(field.default)
        yield f"\n# --- {name}"
        if group.__doc__:
            yield f"# {group.__doc__.splitlines()[0]}"
        yield from _section(f"{prefix}{name.upper()}__", group.model_fields.items())


def _setting(name: str, field: FieldInfo) -> Iterator[str]:
    plain = [f"Also read from {alias}." for alias, path in UNPREFIXED_NAMES.items() if name == _variable(*path)]
    if comment := " ".join([*([field.description] if field.description else []), *plain]):
        yield f"# {comment}"
    yield f"# {name}={_value(field.default)}"


def _variable(*path: str) -> str:
    return "PHOENIX_" + "__".join(path).upper()


def _value(default: Any) -> str:
    if default is None or default is PydanticUndefined:
        return ""
    # Lists and flags are read as JSON; text and numbers stand for themselves.
    return json.dumps(default) if isinstance(default, bool | tuple | list | dict) else str(default)


if __name__ == "__main__":
    TARGET.write_text(render() + "\n")
