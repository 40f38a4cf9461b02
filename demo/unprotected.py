"""What the demo is compared with: the same server, commits and traffic, and nothing that brings the model back.

Nobody looks after it during a scene. Between two scenes it is put where the next one begins.
"""

from __future__ import annotations

from typing import Any

import yaml

NAME = "digits-unprotected"
FILE = "unprotected.yaml"

Json = dict[str, Any]


def manifest(server: str, path: str) -> str:
    """Return the server's manifest as a team without lastgood has it: no word about it, and the variable set in Git."""
    deployment, service = yaml.safe_load_all(server)
    names = {"app": NAME}
    deployment["metadata"] = {"name": NAME, "namespace": deployment["metadata"]["namespace"], "labels": names}
    deployment["spec"]["selector"] = {"matchLabels": names}
    deployment["spec"]["template"]["metadata"]["labels"] = names
    container: Json = deployment["spec"]["template"]["spec"]["containers"][0]
    container["env"].append({"name": "MODEL_PATH", "value": path})
    service["metadata"]["name"] = NAME
    service["spec"]["selector"] = names
    return yaml.safe_dump_all([deployment, service], sort_keys=False)
