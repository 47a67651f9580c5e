"""Checks of rendered manifests: each returns what it finds wrong, in words; k8s_network.py has those of the network."""

import importlib
import io
import re
from contextlib import redirect_stdout, suppress
from importlib.util import find_spec

import kubernetes_validate

from src.api.drain import GRACE_SECONDS, LONGEST_LAST_CALL
from src.core.config import PROJECT, Settings
from tests.infra.k8s_manifests import NAMESPACE, Document, Pod, of_kind, pods, selects

# The oldest that the manifests are for, and the newest whose schema there is.
VERSIONS = ("1.30", kubernetes_validate.latest_version())
SETTINGS = {name.upper() for name in Settings.model_fields}
CREDENTIALS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
SECRET = CREDENTIALS | {"API_KEYS", "API_KEY", "SQL_URL", "BUNDLE_PRIVATE_KEY"}
# The secrets that the documentation tells to make: name -> keys.
DOCUMENTED = {
    name: set(re.findall(r"--from-literal=(\w+)=", keys))
    for name, keys in re.findall(
        r"create secret generic (\S+)((?:[^`]|\\\n)*?)\n(?!  )", (PROJECT / "docs/run.md").read_text()
    )
}
LIVE, READY, DASHBOARD = "/health/live", "/health/ready", "/dashboard/_stcore/health"
PROBES = {
    "housecast-api": {"startupProbe": LIVE, "livenessProbe": LIVE, "readinessProbe": READY},
    "housecast-dashboard": dict.fromkeys(("startupProbe", "livenessProbe", "readinessProbe"), DASHBOARD),
}
MARGIN_SECONDS = 5


def schema(documents: list[Document]) -> list[str]:
    found = []
    for version in VERSIONS:
        for one in documents:
            try:
                kubernetes_validate.validate(one, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                found.append(f"{one['kind']} {one['metadata']['name']}: {version}: {error.message}")
    return found


def security(documents: list[Document]) -> list[str]:
    found = []
    for pod in pods(documents):
        around, inside = pod.spec.get("securityContext", {}), pod.container.get("securityContext", {})
        user = inside.get("runAsUser", around.get("runAsUser"))
        wrong = {
            "runs as root": not (around.get("runAsNonRoot") and user and inside.get("runAsNonRoot", True)),
            "not the image's user": pod.ours is not None and {user, around.get("fsGroup")} != {pod.ours.user},
            "no seccomp profile": around.get("seccompProfile") != {"type": "RuntimeDefault"},
            "may escalate": inside.get("allowPrivilegeEscalation") is not False or inside.get("privileged", False),
            "writable root": inside.get("readOnlyRootFilesystem") is not True,
            "keeps capabilities": inside.get("capabilities") != {"drop": ["ALL"]},
            "has a token of the cluster": pod.spec.get("automountServiceAccountToken") is not False,
            "variables named after services": pod.spec.get("enableServiceLinks") is not False,
            "in the host's namespaces": any(pod.spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")),
            "mounts the host": any("hostPath" in volume for volume in pod.spec.get("volumes", [])),
        }
        found += [f"{pod.name}: {text}" for text, is_so in wrong.items() if is_so]
    for one in of_kind(documents, "Namespace"):
        if one["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
            found.append("the namespace lets pods do as they like")
    found += [f"{one['kind']} is committed" for one in of_kind(documents, "Secret")]
    return found


def resources(documents: list[Document]) -> list[str]:
    found = []
    for pod in pods(documents):
        given = pod.container.get("resources", {})
        for kind in ("requests", "limits"):
            found += [f"{pod.name}: no {kind} of {of}" for of in ("cpu", "memory") if of not in given.get(kind, {})]
        mounts = {mount["mountPath"]: mount["name"] for mount in pod.container.get("volumeMounts", [])}
        if pod.ours and set(mounts) != {pod.ours.volume}:
            found.append(f"{pod.name}: not what the image writes to is mounted")
        volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", [])}
        if set(volumes) != set(mounts.values()):
            found.append(f"{pod.name}: volumes and mounts differ")
        found += [
            f"{pod.name}: {name} may fill the node"
            for name, volume in volumes.items()
            if "emptyDir" in volume and not volume["emptyDir"].get("sizeLimit")
        ]
        name, _, tag = pod.container["image"].rpartition("/")[2].partition(":")
        if not tag or tag == "latest":
            found.append(f"{pod.name}: no version of the image {name}")
    return found


def probes(documents: list[Document]) -> list[str]:
    found = []
    for pod in pods(documents):
        if pod.kind != "Deployment":
            continue
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = pod.container.get(kind, {}).get("httpGet")
            if asked is None:
                found.append(f"{pod.name}: no {kind}")
                continue
            if asked["port"] not in pod.ports():
                found.append(f"{pod.name}: {kind} asks a port that is not there")
            if asked["path"] != PROBES.get(pod.image, {}).get(kind, asked["path"]):
                found.append(f"{pod.name}: {kind} asks {asked['path']}")
    return found


def settings(documents: list[Document]) -> list[str]:
    found = [
        f"{one['metadata']['name']}: {name} belongs in a Secret"
        for one in of_kind(documents, "ConfigMap")
        for name in one["data"]
        if name in SECRET
    ]
    accounts = [one["metadata"] for one in of_kind(documents, "ServiceAccount")]
    roles = {one["name"] for one in accounts if "eks.amazonaws.com/role-arn" in one.get("annotations", {})}
    for pod in pods(documents):
        if not pod.ours:
            continue
        given = pod.environment(documents)
        found += [f"{pod.name}: {name} is no setting" for name in given if name not in SETTINGS | CREDENTIALS]
        found += [f"{pod.name}: {name} stands in the manifest" for name in SECRET if given.get(name)]
        try:
            Settings(**{name.lower(): value for name, value in given.items() if value and name in SETTINGS})
        except ValueError as error:
            found.append(f"{pod.name}: {error}")
        needs = {"api": {"API_KEYS", "S3_BUCKET"}, "dashboard": {"API_KEY", "API_URL"}}.get(pod.name, {"S3_BUCKET"})
        found += [f"{pod.name}: no {name}" for name in sorted(needs - set(given))]
        if "S3_BUCKET" in given and not (given.keys() >= CREDENTIALS or pod.spec.get("serviceAccountName") in roles):
            found.append(f"{pod.name}: neither a role nor keys for its bucket")
    return found


def references(documents: list[Document]) -> list[str]:
    """Whether everything that is named is there: a Secret, where the documentation tells to make it."""
    there = {(one["kind"], one["metadata"]["name"]) for one in documents}
    found = []
    for pod in pods(documents):
        account = pod.spec.get("serviceAccountName")
        named = [("ServiceAccount", account)] if account else []
        for source in pod.container.get("envFrom", []):
            named += [("ConfigMap", source[key]["name"]) for key in ("configMapRef",) if key in source]
            found += [f"{pod.name}: takes a whole Secret" for key in ("secretRef",) if key in source]
        for volume in pod.spec.get("volumes", []):
            if "persistentVolumeClaim" in volume:
                named.append(("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]))
        found += [f"{pod.name}: no {kind} {name}" for kind, name in named if (kind, name) not in there]
        for one in pod.container.get("env", []):
            if key := one.get("valueFrom", {}).get("secretKeyRef"):
                if key["key"] not in DOCUMENTED.get(key["name"], set()):
                    found.append(f"{pod.name}: nobody is told to make the Secret {key['name']} with {key['key']}")
            elif "value" not in one:
                found.append(f"{pod.name}: {one['name']} has neither a value nor a Secret")
    for one in documents:
        if one["kind"] != "Namespace" and one["metadata"].get("namespace") != NAMESPACE:
            found.append(f"{one['kind']} {one['metadata']['name']}: not in the namespace")
    return found


def rollout(documents: list[Document]) -> list[str]:
    found = []
    budgets = [one["spec"] for one in of_kind(documents, "PodDisruptionBudget")]
    scaled = {
        one["spec"]["scaleTargetRef"]["name"]: one["spec"] for one in of_kind(documents, "HorizontalPodAutoscaler")
    }
    for pod in pods(documents):
        if pod.kind != "Deployment":
            continue
        spec = pod.workload
        if not selects(spec["selector"], pod.labels):
            found.append(f"{pod.name}: its selector does not pick its pods")
        if "revisionHistoryLimit" not in spec:
            found.append(f"{pod.name}: keeps ten old versions")
        if not pod.ours:
            continue
        if spec.get("strategy", {}).get("rollingUpdate", {}).get("maxUnavailable") != 0:
            found.append(f"{pod.name}: fewer pods during an update")
        if [one.get("maxUnavailable") for one in budgets if selects(one["selector"], pod.labels)] != [1]:
            found.append(f"{pod.name}: no disruption budget of one pod")
        spread = pod.spec.get("topologySpreadConstraints", [])
        if {one["topologyKey"] for one in spread if selects(one["labelSelector"], pod.labels)} != {
            "topology.kubernetes.io/zone",
            "kubernetes.io/hostname",
        }:
            found.append(f"{pod.name}: not spread over zones and nodes")
        if pod.name in scaled and "replicas" in spec:
            found.append(f"{pod.name}: an update would undo what the autoscaler did")
        found += _stop(pod, documents)
    metric = [one["resource"] for one in scaled.get("api", {}).get("metrics", [])]
    if metric != [{"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}]:
        found.append("api: not scaled at 70 % of its CPU")
    found += [f"{name}: no Deployment to scale" for name in scaled if name not in {pod.name for pod in pods(documents)}]
    return found


def _stop(pod: Pod, documents: list[Document]) -> list[str]:
    needs = pod.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    if pod.image == "housecast-api":
        drain = pod.environment(documents).get("DRAIN_SECONDS") or Settings.model_fields["drain_seconds"].default
        needs += float(drain) + LONGEST_LAST_CALL + GRACE_SECONDS
    elif not needs:
        return [f"{pod.name}: ends before load balancers have heard of it"]
    given = pod.spec.get("terminationGracePeriodSeconds", 30)
    return [f"{pod.name}: killed {needs - given:g} s too early"] if given < needs + MARGIN_SECONDS else []


def batch(documents: list[Document]) -> list[str]:
    found = []
    for one in of_kind(documents, "CronJob"):
        spec, job = one["spec"], one["spec"]["jobTemplate"]["spec"]
        name = one["metadata"]["name"]
        if spec.get("concurrencyPolicy") != "Forbid":
            found.append(f"{name}: two at once")
        bounds = {*spec, *job} & {
            "startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit", "backoffLimit",
            "activeDeadlineSeconds",
        }  # fmt: skip
        if len(bounds) < 5:
            found.append(f"{name}: without bounds of time, tries or history")
        if len(spec["schedule"].split()) != 5:
            found.append(f"{name}: no schedule")
    jobs = [pod for pod in pods(documents) if pod.kind != "Deployment"]
    return found + [f"{pod.name}: restarts for ever" for pod in jobs if pod.spec.get("restartPolicy") != "Never"]


def commands(documents: list[Document]) -> list[str]:
    found = []
    for pod in pods(documents):
        command = pod.container.get("command", [])
        if not (pod.ours and command):
            continue
        if command[:2] == ["python", "-c"]:
            compile(command[2], pod.name, "exec")
        elif command[:2] != ["python", "-m"] or find_spec(command[2]) is None:
            found.append(f"{pod.name}: {' '.join(command)} is no program of the image")
        else:
            help_text = io.StringIO()
            with redirect_stdout(help_text), suppress(SystemExit):
                importlib.import_module(command[2]).main(["--help"])
            flags = [word for word in command[3:] + pod.container.get("args", []) if word.startswith("--")]
            found += [f"{pod.name}: {flag} is no flag" for flag in flags if flag not in help_text.getvalue()]
    return found
