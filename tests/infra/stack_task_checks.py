"""What must hold of the stack's tasks and services. Each check returns what is wrong, in words."""

import re

from pydantic import ValidationError

from src.api.drain import GRACE_SECONDS, LONGEST_LAST_CALL
from src.api.main import KEEP_ALIVE_SECONDS
from src.core.config import Settings
from tests.infra.dockerfile import Container
from tests.infra.stack_policies import as_list
from tests.infra.stack_template import Resource, Stack, attributes

API, DASHBOARD = Container.of("housecast-api"), Container.of("housecast-dashboard")
IMAGES = {"ApiTask": API, "DashboardTask": DASHBOARD, "BatchTask": API}
SIZES = {"ApiTask": ("1024", "3072"), "DashboardTask": ("512", "1024"), "BatchTask": ("1024", "3072")}
SERVICES = {"ApiService": "ApiTask", "DashboardService": "DashboardTask"}
# The dashboard's pages ping that often, which keeps a connection through the balancer.
PING_SECONDS = 30
# Settings that a container cannot do without, and those that may only come from a secret.
NEEDED = {
    "ApiTask": {"S3_BUCKET", "AWS_REGION", "API_KEYS", "BATCH_INPUT"},
    "DashboardTask": {"API_URL", "API_KEY"},
    "BatchTask": {"S3_BUCKET", "AWS_REGION", "BATCH_INPUT"},
}
CONFIDENTIAL = {"API_KEYS", "API_KEY", "DATABASE_URL", "SQL_URL", "BUNDLE_PRIVATE_KEY"}


def check_containers_run_what_the_images_have(stack: Stack) -> list[str]:
    found = []
    for task in IMAGES.keys() & stack.resources.keys():
        container, image = stack.container(task), IMAGES[task]
        ports = [one["ContainerPort"] for one in container.get("PortMappings", ())]
        if task != "BatchTask":
            if "Command" in container:
                found.append(f"{task} replaces the image's command")
            if ports != [image.port] or str(image.port) not in image.command:
                found.append(f"{task}: ports {ports}, but the image listens on {image.port} with {image.command}")
            found += [f"{task}: {one}" for one in _health(container, image)]
        if container.get("User", str(image.user)) != str(image.user):
            found.append(f"{task} runs as {container['User']}")
    return found


def _health(container: Resource, image: Container) -> list[str]:
    said = container.get("HealthCheck", {})
    seconds = {
        name: said.get(key)
        for name, key in (("interval", "Interval"), ("timeout", "Timeout"), ("start-period", "StartPeriod"))
    }
    return (
        []
        if (said.get("Command"), seconds) == (["CMD", *image.check], image.check_seconds)
        else ["another health check than the image's"]
    )


def check_containers_are_confined(stack: Stack) -> list[str]:
    found = []
    for task in IMAGES.keys() & stack.resources.keys():
        container, volume = stack.container(task), IMAGES[task].volume
        if container.get("ReadonlyRootFilesystem") is not True:
            found.append(f"{task}: its root file system can be written")
        mounts = {one["ContainerPath"]: one["SourceVolume"] for one in container.get("MountPoints", ())}
        if mounts.get(volume) not in [one["Name"] for one in stack[task].get("Volumes", ())]:
            found.append(f"{task}: nothing to write on is mounted at {volume}")
        if container.get("LinuxParameters") != {"Capabilities": {"Drop": ["ALL"]}} or container.get("Privileged"):
            found.append(f"{task} keeps capabilities")
        if (stack[task]["Cpu"], stack[task]["Memory"]) != SIZES[task]:
            found.append(f"{task} is not of the size {SIZES[task]}")
    return found


def check_settings(stack: Stack) -> list[str]:
    found = []
    known = {name.upper() for name in Settings.model_fields}
    for task in IMAGES.keys() & stack.resources.keys():
        container = stack.container(task)
        said = {one["Name"]: one["Value"] for one in container["Environment"]}
        secrets = {one["Name"]: one["ValueFrom"] for one in container.get("Secrets", ())}
        needed = NEEDED[task] | ({"DATABASE_URL"} if "DatabaseUrl" in stack and task != "DashboardTask" else set())
        found += [f"{task} lacks {name}" for name in needed - said.keys() - secrets.keys()]
        found += [f"{task}: {name} is no setting" for name in (said.keys() | secrets.keys()) - known]
        found += [f"{task}: {name} is not from a secret" for name in CONFIDENTIAL & said.keys()]
        found += [f"{task}: {name} is twice there" for name in said.keys() & secrets.keys()]
        try:
            Settings(**{name.lower(): value for name, value in said.items()})
        except ValidationError as error:
            found.append(f"{task}: {error.errors()[0]['loc'][0]} is no value of its setting")
    return found


def check_services(stack: Stack) -> list[str]:
    found = []
    for name, task in SERVICES.items():
        if name not in stack:
            continue
        service, container, image = stack[name], stack.container(task), IMAGES[task]
        breaker = service["DeploymentConfiguration"].get("DeploymentCircuitBreaker")
        if breaker != {"Enable": True, "Rollback": True}:
            found.append(f"{name}: a deployment that fails is not taken back")
        if service["DeploymentConfiguration"].get("MinimumHealthyPercent") != 100:
            found.append(f"{name} has fewer tasks while it is deployed")
        if service["TaskDefinition"] != task or service["LaunchType"] != "FARGATE":
            found.append(f"{name} does not run {task} on Fargate")
        if "DesiredCount" in service:
            found.append(f"{name}: an update undoes what scaling did")
        (balancer,) = service["LoadBalancers"]
        (port,) = container["PortMappings"]
        if (balancer["ContainerName"], balancer["ContainerPort"]) != (container["Name"], port["ContainerPort"]):
            found.append(f"{name}: the balancer's container or port is not {task}'s")
        targets = stack[balancer["TargetGroupArn"]]
        if not any(f"127.0.0.1:{port['ContainerPort']}{targets['HealthCheckPath']}'" in one for one in image.check):
            found.append(f"{name}: the balancer asks {targets['HealthCheckPath']}, the image's own check does not")
        if (targets["Port"], targets["TargetType"]) != (port["ContainerPort"], "ip"):
            found.append(f"{name}: its target group has another port or kind of target")
        network = service["NetworkConfiguration"]["AwsvpcConfiguration"]
        private = stack.parameters["TaskSubnetIds"] != [""]
        if network["AssignPublicIp"] != ("DISABLED" if private else "ENABLED"):
            found.append(f"{name}: without a way to the registry, or with two")
    return found


def check_stopping(stack: Stack) -> list[str]:
    """A task that stops loses no request (docs/operations.md)."""
    if "ApiTask" not in stack:
        return []
    found = []
    container = stack.container("ApiTask")
    said = {one["Name"]: one["Value"] for one in container["Environment"]}
    drain = float(said.get("DRAIN_SECONDS", Settings.model_fields["drain_seconds"].default))
    needed = max(30, drain + LONGEST_LAST_CALL + GRACE_SECONDS)
    if container["StopTimeout"] < needed:
        found.append(f"the API is killed after {container['StopTimeout']} s and may need {needed:g}")
    request = Settings.model_fields["request_seconds"].default
    if int(attributes(stack["ApiTargets"])["deregistration_delay.timeout_seconds"]) < request:
        found.append(f"a request may take {request:g} s, longer than a target that leaves is waited for")
    idle = int(attributes(stack["Balancer"])["idle_timeout.timeout_seconds"])
    if not PING_SECONDS < idle < KEEP_ALIVE_SECONDS:
        found.append(f"idle connections end after {idle} s: not between {PING_SECONDS} and {KEEP_ALIVE_SECONDS}")
    if any(one["TTL"] >= drain for one in stack["ApiName"]["DnsConfig"]["DnsRecords"]):
        found.append("the dashboard may know a task's address for longer than that drains")
    return found


def check_scaling(stack: Stack) -> list[str]:
    found = []
    policies = stack.of_type("ApplicationAutoScaling::ScalingPolicy").values()
    for service, target, metrics in (
        ("ApiService", "ApiScaling", {"ECSServiceAverageCPUUtilization", "ALBRequestCountPerTarget"}),
        ("DashboardService", "DashboardScaling", {"ECSServiceAverageCPUUtilization"}),
    ):
        if service not in stack:
            continue
        tracked = {
            one["TargetTrackingScalingPolicyConfiguration"]["PredefinedMetricSpecification"]["PredefinedMetricType"]
            for one in policies
            if one["ScalingTargetId"] == target and one["PolicyType"] == "TargetTrackingScaling"
        }
        if tracked != metrics:
            found.append(f"{service} scales by {sorted(tracked)}")
        scaled = stack[target]
        if not 1 <= scaled["MinCapacity"] < scaled["MaxCapacity"]:
            found.append(f"{service} cannot grow")
        if scaled["ResourceId"] != f"service/Cluster/{service}.Name":
            found.append(f"{target} is not {service}'s")
    return found


def check_batch(stack: Stack) -> list[str]:
    if "BatchTask" not in stack:
        return []
    found = []
    container, rule = stack.container("BatchTask"), stack["BatchRule"]
    if container["Image"] != stack.container("ApiTask")["Image"]:
        found.append("the batch has another image than the API")
    if container["Command"][:3] != ["python", "-m", "src.batch.run_monthly"]:
        found.append("the batch's task does not run the batch")
    if not re.fullmatch(r"(cron|rate)\(.+\)", rule.get("ScheduleExpression", "")) or rule["State"] != "ENABLED":
        found.append("the batch has no schedule")
    (target,) = rule["Targets"]
    run = target["EcsParameters"]
    if (target["Arn"], target["RoleArn"]) != ("Cluster.Arn", "EventsRole.Arn"):
        found.append("the rule does not start a task on the cluster with its own role")
    if (run["TaskDefinitionArn"], run["LaunchType"]) != ("BatchTask", "FARGATE"):
        found.append("the rule starts another task than the batch's")
    network = run["NetworkConfiguration"]["AwsVpcConfiguration"]
    like = stack["ApiService"]["NetworkConfiguration"]["AwsvpcConfiguration"]
    if as_list(network["SecurityGroups"]) != ["BatchGroup.GroupId"] or any(
        network[key] != like[key] for key in ("AssignPublicIp", "Subnets")
    ):
        found.append("the batch is not in the network of the tasks")
    return found
