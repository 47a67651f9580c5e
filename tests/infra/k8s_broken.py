"""Ways to break the rendered manifests, and what the checks must then find."""

from functools import reduce
from typing import Any

from tests.infra.k8s_manifests import Document

POD = "spec.template.spec"
API = f"{POD}.containers.0"
JOB = "spec.jobTemplate.spec"
GONE = object()
BROKEN = [
    # check, what is broken (kind, name, path of the field), its new value, what is found
    ("security", "Deployment", "api", f"{POD}.securityContext.runAsUser", 0, "api: runs as root"),
    ("security", "Deployment", "api", f"{POD}.securityContext.runAsNonRoot", GONE, "api: runs as root"),
    ("security", "Deployment", "api", f"{API}.securityContext.runAsUser", 0, "api: runs as root"),
    ("security", "Deployment", "api", f"{POD}.securityContext.fsGroup", GONE, "api: not the image's user"),
    ("security", "Deployment", "api", f"{POD}.securityContext.seccompProfile", GONE, "no seccomp profile"),
    ("security", "Deployment", "dashboard", f"{API}.securityContext.privileged", True, "dashboard: may escalate"),
    ("security", "Deployment", "dashboard", f"{API}.securityContext", GONE, "dashboard: writable root"),
    ("security", "Deployment", "api", f"{API}.securityContext.capabilities.add", ["NET_ADMIN"], "keeps capabilities"),
    ("security", "Deployment", "api", f"{POD}.automountServiceAccountToken", GONE, "a token of the cluster"),
    ("security", "Deployment", "api", f"{POD}.enableServiceLinks", True, "named after services"),
    ("security", "Deployment", "api", f"{POD}.hostNetwork", True, "in the host's namespaces"),
    ("security", "Deployment", "api", f"{POD}.volumes.0", {"name": "cache", "hostPath": {"path": "/"}}, "the host"),
    ("security", "Namespace", "housecast", "metadata.labels", {}, "lets pods do as they like"),
    ("security", "ConfigMap", "settings", "kind", "Secret", "Secret is committed"),
    ("resources", "Deployment", "api", f"{API}.resources.limits", GONE, "api: no limits of memory"),
    ("resources", "Deployment", "dashboard", f"{API}.resources.requests.cpu", GONE, "no requests of cpu"),
    ("resources", "Deployment", "api", f"{API}.volumeMounts.0.mountPath", "/tmp", "not what the image writes to"),
    ("resources", "Deployment", "api", f"{POD}.volumes", GONE, "volumes and mounts differ"),
    ("resources", "Deployment", "api", f"{POD}.volumes.0.emptyDir", {}, "cache may fill the node"),
    ("resources", "Deployment", "api", f"{API}.image", "registry.example.com:5000/housecast-api", "no version"),
    ("resources", "Deployment", "api", f"{API}.image", "housecast-api:latest", "no version"),
    ("probes", "Deployment", "api", f"{API}.readinessProbe", GONE, "api: no readinessProbe"),
    ("probes", "Deployment", "dashboard", f"{API}.startupProbe", GONE, "dashboard: no startupProbe"),
    ("probes", "Deployment", "api", f"{API}.livenessProbe.httpGet.path", "/health/ready", "asks /health/ready"),
    ("probes", "Deployment", "dashboard", f"{API}.readinessProbe.httpGet.path", "/_stcore/health", "/_stcore/health"),
    ("probes", "Deployment", "api", f"{API}.livenessProbe.httpGet.port", "web", "a port that is not there"),
    ("settings", "ConfigMap", "settings", "data.API_KEYS", "a:read:0", "API_KEYS belongs in a Secret"),
    ("settings", "ConfigMap", "settings", "data.RATELIMIT", "5", "RATELIMIT is no setting"),
    ("settings", "ConfigMap", "settings", "data.LOG_LEVEL", "LOUD", "log_level"),
    ("settings", "ConfigMap", "settings", "data.S3_BUCKET", GONE, "monthly-batch: no S3_BUCKET"),
    ("settings", "Deployment", "api", f"{API}.env", GONE, "api: no API_KEYS"),
    ("settings", "Deployment", "api", f"{API}.env.AWS_ACCESS_KEY_ID", GONE, "api: neither a role nor keys"),
    (
        "settings",
        "Deployment",
        "api",
        f"{API}.env.API_KEYS",
        {"name": "API_KEYS", "value": "x"},
        "stands in the manifest",
    ),
    ("settings", "Deployment", "dashboard", f"{API}.envFrom", GONE, "dashboard: no API_URL"),
    ("references", "Deployment", "api", f"{API}.env.API_KEYS.valueFrom.secretKeyRef.name", "keys", "the Secret keys"),
    ("references", "Deployment", "api", f"{API}.env.API_KEYS.valueFrom.secretKeyRef.key", "KEYS", "with KEYS"),
    ("references", "Deployment", "api", f"{API}.env.API_KEYS.valueFrom", GONE, "neither a value nor a Secret"),
    ("references", "Deployment", "api", f"{API}.envFrom.0.configMapRef.name", "settings", "no ConfigMap settings"),
    ("references", "Deployment", "api", f"{API}.envFrom.0", {"secretRef": {"name": "x"}}, "takes a whole Secret"),
    ("references", "Deployment", "api", f"{POD}.serviceAccountName", "nobody", "no ServiceAccount nobody"),
    ("references", "Deployment", "minio", f"{POD}.volumes.0.persistentVolumeClaim.claimName", "x", "Claim x"),
    ("references", "Service", "api", "metadata.namespace", "default", "Service api: not in the namespace"),
    ("rollout", "Deployment", "api", "spec.selector.matchLabels", {"app": "api"}, "does not pick its pods"),
    ("rollout", "Deployment", "api", "spec.revisionHistoryLimit", GONE, "keeps ten old versions"),
    ("rollout", "Deployment", "api", "spec.strategy", {"type": "Recreate"}, "fewer pods during an update"),
    ("rollout", "Deployment", "api", "spec.replicas", 2, "undo what the autoscaler did"),
    ("rollout", "Deployment", "api", f"{POD}.terminationGracePeriodSeconds", 20, "api: killed 3 s too early"),
    ("rollout", "ConfigMap", "settings", "data.DRAIN_SECONDS", "40", "api: killed 13 s too early"),
    ("rollout", "Deployment", "dashboard", f"{API}.lifecycle", GONE, "before load balancers have heard"),
    ("rollout", "Deployment", "api", f"{POD}.topologySpreadConstraints.0", GONE, "not spread"),
    ("rollout", "PodDisruptionBudget", "api", "spec.maxUnavailable", 0, "api: no disruption budget"),
    (
        "rollout",
        "PodDisruptionBudget",
        "dashboard",
        "spec.selector.matchLabels",
        {"a": "b"},
        "dashboard: no disruption",
    ),
    ("rollout", "HorizontalPodAutoscaler", "api", "spec.scaleTargetRef.name", "app", "app: no Deployment to scale"),
    ("rollout", "HorizontalPodAutoscaler", "api", "spec.metrics", GONE, "not scaled"),
    ("batch", "CronJob", "monthly-batch", "spec.concurrencyPolicy", GONE, "two at once"),
    ("batch", "CronJob", "monthly-batch", f"{JOB}.activeDeadlineSeconds", GONE, "without bounds"),
    ("batch", "CronJob", "monthly-batch", f"{JOB}.template.spec.restartPolicy", "OnFailure", "restarts for ever"),
    ("batch", "CronJob", "monthly-batch", "spec.schedule", "@never", "no schedule"),
    ("commands", "CronJob", "monthly-batch", f"{JOB}.{POD[5:]}.containers.0.command.2", "src.batch.run", "no program"),
    (
        "commands",
        "CronJob",
        "monthly-batch",
        f"{JOB}.{POD[5:]}.containers.0.args",
        ["--year", "2024"],
        "--year is no flag",
    ),
    ("services", "Deployment", "api", f"{API}.ports.0.containerPort", 8080, "api: not the port of the image"),
    ("services", "Service", "dashboard", "spec.selector", {"app": "dashboard"}, "Service dashboard: picks []"),
    ("services", "Service", "api", "spec.selector", {"app.kubernetes.io/name": "housecast"}, "Service api: picks"),
    ("services", "Service", "api", "spec.ports.0.targetPort", "https", "no port https in its pods"),
    ("services", "ConfigMap", "dashboard-settings", "data.API_URL", "http://api:8000", "nothing answers at API_URL"),
    ("services", "ConfigMap", "settings", "data.S3_ENDPOINT_URL", "http://minio", "nothing answers at S3_ENDPOINT_URL"),
    ("ingresses", "Ingress", "api", "spec.ingressClassName", GONE, "of no class"),
    ("ingresses", "Ingress", "api", "spec.rules.0.host", "x.example.com", "two hosts"),
    ("ingresses", "Ingress", "dashboard", "spec.rules.0.http.paths.0.path", "/", "lead elsewhere"),
    ("ingresses", "Ingress", "api", "spec.rules.0.http.paths.0.backend.service.name", "app", "no Service"),
]
CUT = [
    # a policy, the path of a field, its new value, what is found
    ("default-deny", "spec.podSelector", {"matchLabels": {"a": "b"}}, "another namespace's pod reaches monthly-batch"),
    ("dns", "spec.egress", [], "dashboard does not reach DNS at 53"),
    ("api", "spec.ingress.0", GONE, "does not reach api at 8000"),
    ("api", "spec.ingress.0.ports.0.port", 80, "does not reach api at 8000"),
    ("api", "spec.ingress.1.from", GONE, "another namespace's pod reaches api"),
    ("dashboard", "spec.egress", [{}], "dashboard reaches S3"),
    ("dashboard", "spec.podSelector.matchLabels", {"a": "b"}, "dashboard does not reach api"),
    ("stores", "spec.egress.0.to.0.ipBlock.except", GONE, "api reaches the node's credentials at 443"),
    ("stores", "spec.egress.0", GONE, "monthly-batch does not reach S3"),
    ("stores", "spec.podSelector.matchExpressions.0.values", ["api"], "monthly-batch does not reach a database"),
]


def break_field(document: Document, path: str, value: Any) -> None:
    """Change the field at a path, whose steps are keys, and positions or names in lists."""
    *way, last = path.split(".")
    inside = reduce(_step, way, document)
    key = _key(inside, last)
    if value is GONE:
        del inside[key]
    else:
        inside[key] = value


def _step(inside: Any, step: str) -> Any:
    return inside[_key(inside, step)]


def _key(inside: Any, step: str) -> Any:
    if not isinstance(inside, list):
        return step
    return int(step) if step.isdigit() else [one["name"] for one in inside].index(step)
