"""Checks of rendered manifests: what reaches what, by services, ingresses and network policies."""

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from tests.infra.dockerfile import IMAGES, Container
from tests.infra.k8s_manifests import NAMESPACE, Document, Pod, of_kind, pods, selects


@dataclass(frozen=True)
class End:
    """One end of a connection: a pod of a namespace, or an address outside."""

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    namespace: str = NAMESPACE
    address: str | None = None


S3 = End("S3", address="52.218.0.1")
DATABASE = End("a database", address="10.1.2.3")
CREDENTIALS = End("the node's credentials", address="169.254.169.254")
DNS = End("DNS", {"k8s-app": "kube-dns"}, "kube-system")
STRANGER = End("another namespace's pod", {"app.kubernetes.io/component": "dashboard"}, "default")
# Where requests from outside come from: k3s's Traefik, and a load balancer in the VPC.
ENTRIES = {
    "local": End("Traefik", {"app.kubernetes.io/name": "traefik"}, "kube-system"),
    "production": End("the load balancer", address="10.0.3.4"),
}


def services(documents: list[Document]) -> list[str]:
    servers = [pod for pod in pods(documents) if pod.kind == "Deployment" and pod.ours]
    found = [
        f"{pod.name}: not the port of the image"
        for pod in servers
        if pod.ours and list(pod.ports().values()) != [pod.ours.port]
    ]
    for service in of_kind(documents, "Service"):
        name = service["metadata"]["name"]
        picked = _picked(service, documents)
        if [pod.name for pod in picked] != [name]:
            found.append(f"Service {name}: picks {[pod.name for pod in picked]}")
        targets = [port["targetPort"] for port in service["spec"]["ports"]]
        lacking = {target for target in targets for pod in picked if target not in pod.ports()}
        found += [f"Service {name}: no port {target} in its pods" for target in lacking]
    for pod in pods(documents):
        for key, value in pod.environment(documents).items():
            if value and key in {"API_URL", "S3_ENDPOINT_URL"} and _service_at(value, documents) is None:
                found.append(f"{pod.name}: nothing answers at {key}={value}")
    return found


def ingresses(documents: list[Document]) -> list[str]:
    found, paths, hosts = [], {}, set()
    there = {
        (one["metadata"]["name"], p["name"]) for one in of_kind(documents, "Service") for p in one["spec"]["ports"]
    }
    for ingress in of_kind(documents, "Ingress"):
        if "ingressClassName" not in ingress["spec"]:
            found.append(f"Ingress {ingress['metadata']['name']}: of no class")
        for rule in ingress["spec"]["rules"]:
            hosts.add(rule["host"])
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                paths[path["path"], path["pathType"]] = service["name"]
                if (service["name"], service["port"]["name"]) not in there:
                    found.append(f"Ingress {ingress['metadata']['name']}: no Service {service}")
    command = Container.of("housecast-dashboard").command
    base = "/" + command[command.index("--server.baseUrlPath") + 1]
    if paths != {("/", "Prefix"): "api", (base, "Prefix"): "dashboard"}:
        found.append(f"the ingresses lead elsewhere: {paths}")
    if len(hosts) != 1:
        found.append(f"two hosts: {hosts}")
    return found


def policies(documents: list[Document], entry: End) -> list[str]:
    """Ask the policies for each connection that must work, and for those that must not."""
    ends = {pod.name: End(pod.name, pod.labels) for pod in pods(documents)}
    api, dashboard, batch = ends["api"], ends["dashboard"], ends["monthly-batch"]
    api_port, dashboard_port = (Container.of(image).port for image in IMAGES)
    must = [(entry, api, api_port), (entry, dashboard, dashboard_port), (dashboard, api, api_port)]
    must += [(end, DNS, 53) for end in ends.values()]
    for end in (api, batch):
        must += [(end, S3, 443), (end, DATABASE, 5432)]
    must_not = [(dashboard, S3, 443), (dashboard, DATABASE, 5432), (api, CREDENTIALS, 80), (api, CREDENTIALS, 443)]
    must_not += [(STRANGER, end, port) for end in ends.values() for port in (api_port, dashboard_port, 9000)]
    must_not += [(entry, batch, api_port), (api, dashboard, dashboard_port), (api, S3, 80), (batch, api, api_port)]
    if "minio" in ends:
        must += [(ends[name], ends["minio"], 9000) for name in ("api", "monthly-batch", "bucket")]
        must_not += [(dashboard, ends["minio"], 9000), (entry, ends["minio"], 9000), (ends["minio"], S3, 443)]
    found = [f"{a.name} does not reach {b.name} at {p}" for a, b, p in must if not reaches(documents, a, b, p)]
    return found + [f"{a.name} reaches {b.name} at {p}" for a, b, p in must_not if reaches(documents, a, b, p)]


def reaches(documents: list[Document], source: End, target: End, port: int) -> bool:
    protocol = "UDP" if port == 53 else "TCP"
    return _admitted(documents, "Egress", source, target, port, protocol) and _admitted(
        documents, "Ingress", target, source, port, protocol
    )


def _admitted(documents: list[Document], way: str, pod: End, other: End, port: int, protocol: str) -> bool:
    if pod.address or pod.namespace != NAMESPACE:
        return True  # its own policies are not ours
    specs = [one["spec"] for one in of_kind(documents, "NetworkPolicy")]
    specs = [spec for spec in specs if way in spec["policyTypes"] and selects(spec["podSelector"], pod.labels)]
    peers = "to" if way == "Egress" else "from"
    return not specs or any(
        (peers not in rule or any(_is_peer(peer, other) for peer in rule[peers]))
        and ("ports" not in rule or {"protocol": protocol, "port": port} in rule["ports"])
        for spec in specs
        for rule in spec.get(way.lower(), [])
    )


def _is_peer(peer: Document, end: End) -> bool:
    if block := peer.get("ipBlock"):
        # A pod's address may change at any time: blocks are for what is outside.
        inside = [ip_network(block["cidr"]), *map(ip_network, block.get("except", []))]
        where = [end.address is not None and ip_address(end.address) in network for network in inside]
        return where[0] and not any(where[1:])
    if end.address:
        return False
    own = {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}
    labels = {"kubernetes.io/metadata.name": end.namespace}
    return selects(peer.get("namespaceSelector", own), labels) and selects(peer.get("podSelector", {}), end.labels)


def _picked(service: Document, documents: list[Document]) -> list[Pod]:
    return [pod for pod in pods(documents) if selects({"matchLabels": service["spec"]["selector"]}, pod.labels)]


def _service_at(url: str, documents: list[Document]) -> str | None:
    where = urlsplit(url)
    for service in of_kind(documents, "Service"):
        name = service["metadata"]["name"]
        if name == where.hostname and any(port["port"] == (where.port or 80) for port in service["spec"]["ports"]):
            return name
    return None
