"""What the Dockerfiles say of the images: their last stage, instruction by instruction."""

import json
import re
from dataclasses import dataclass
from functools import cache

from src.core.config import PROJECT

API, DASHBOARD = "Dockerfile", "Dockerfile.streamlit"


@dataclass(frozen=True)
class Image:
    """How an image is run."""

    command: list[str]
    user: str
    port: int
    volumes: list[str]
    check: list[str]  # the command of its HEALTHCHECK
    check_seconds: dict[str, int]  # interval, timeout, start-period


@cache
def read(name: str) -> Image:
    """Read the last stage of a Dockerfile."""
    text = re.sub(r"\\\n\s*", "", (PROJECT / name).read_text())
    stage = text[text.rindex("\nFROM ") :]
    said = dict(re.findall(r"^(CMD|USER|EXPOSE|VOLUME|HEALTHCHECK) +(.*)$", stage, re.MULTILINE))
    options, check = said["HEALTHCHECK"].split("CMD ", 1)
    return Image(
        command=json.loads(said["CMD"]),
        user=said["USER"],
        port=int(said["EXPOSE"]),
        volumes=said["VOLUME"].split(),
        check=json.loads(check),
        check_seconds={name: int(seconds) for name, seconds in re.findall(r"--([a-z-]+)=(\d+)s", options)},
    )
