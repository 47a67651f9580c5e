"""What a Dockerfile says of the container that it makes, for comparing what starts that container with it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from src.core.config import PROJECT

# The images that the project makes, with the programs' Dockerfiles.
IMAGES = {"housecast-api": "Dockerfile", "housecast-dashboard": "Dockerfile.streamlit"}


@dataclass(frozen=True)
class Container:
    """What the last stage of a Dockerfile leaves."""

    port: int
    user: int
    volume: str
    command: list[str]
    environment: dict[str, str]
    health: str  # the path that the image's own health check asks
    check: list[str]  # the command that asks it
    check_seconds: dict[str, int]  # interval, timeout, start-period

    @classmethod
    def of(cls, image: str, root: Path = PROJECT) -> "Container":
        text = (root / IMAGES[image]).read_text().replace("\\\n", " ")
        last = text[text.rindex("\nFROM ") :]

        def said(instruction: str) -> str:
            return re.findall(rf"^{instruction} +(.+)$", last, re.MULTILINE)[-1].strip()

        options, check = said("HEALTHCHECK").split("CMD ", 1)
        asked = re.search(r"http://127\.0\.0\.1:(\d+)(/[\w/]+)", check)
        assert asked, "the health check asks an address"
        assert asked[1] == said("EXPOSE"), "the health check asks the port that is exposed"
        return cls(
            port=int(said("EXPOSE")),
            user=int(said("USER")),
            volume=said("VOLUME"),
            command=json.loads(said("CMD")),
            environment=dict(one.split("=", 1) for one in said("ENV").split()),
            health=asked[2],
            check=json.loads(check),
            check_seconds={name: int(seconds) for name, seconds in re.findall(r"--([a-z-]+)=(\d+)s", options)},
        )
