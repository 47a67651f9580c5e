"""What must hold of the balancer, the network, the logs and the alarms. Each check returns what is wrong, in words."""

import re
from datetime import UTC, datetime
from typing import Any

from src.core.monitoring_sections import RULES
from src.monitoring import alerts
from tests.infra.stack_template import Resource, Stack, attributes

TASKS = ("ApiTask", "DashboardTask", "BatchTask")
ARN = "arn:aws:ecs:REGION:ACCOUNT:task-definition"


def check_balancer(stack: Stack) -> list[str]:
    found = []
    listeners = {one["Port"]: one for one in stack.of_type("ElasticLoadBalancingV2::Listener").values()}
    secure = stack.parameters["CertificateArn"] != ""
    if set(listeners) != ({80, 443} if secure else {80}):
        found.append(f"listens on {sorted(listeners)}")
    (plain,) = listeners[80]["DefaultActions"]
    if secure and plain.get("RedirectConfig", {}).get("Protocol") != "HTTPS":
        found.append("HTTP is not redirected although there is a certificate")
    served = listeners.get(443) if secure else listeners[80]
    if served and [one.get("TargetGroupArn") for one in served["DefaultActions"]] != ["ApiTargets"]:
        found.append("what is not the dashboard's does not go to the API")
    rule = stack["DashboardRule"]
    if rule["ListenerArn"] != ("HttpsListener" if secure else "HttpListener"):
        found.append("the dashboard's rule is at the wrong listener")
    paths = [path for one in rule["Conditions"] for path in one["PathPatternConfig"]["Values"]]
    if (paths, rule["Actions"][0]["TargetGroupArn"]) != (["/dashboard*"], "DashboardTargets"):
        found.append("/dashboard* does not go to the dashboard")
    if attributes(stack["DashboardTargets"]).get("stickiness.enabled") != "true":
        found.append("a dashboard's session is not held to its task")
    return found


def check_doors(stack: Stack) -> list[str]:
    """Who may connect to whom: (group, port) -> sources."""
    wanted = {
        ("BalancerGroup", 80): {stack.parameters["AllowedCidr"]},
        ("ApiGroup", 8000): {"BalancerGroup.GroupId", "DashboardGroup.GroupId"},
        ("DashboardGroup", 8501): {"BalancerGroup.GroupId"},
    }
    if stack.parameters["CertificateArn"]:
        wanted["BalancerGroup", 443] = {stack.parameters["AllowedCidr"]}
    if "DatabaseGroup" in stack:
        wanted["DatabaseGroup", 5432] = {"ApiGroup.GroupId", "BatchGroup.GroupId"}
    there: dict[tuple[str, int], set[str]] = {}
    found = []
    for name, group in stack.of_type("EC2::SecurityGroup").items():
        for rule in group.get("SecurityGroupIngress", ()):
            if rule["IpProtocol"] != "tcp" or rule["FromPort"] != rule["ToPort"]:
                found.append(f"{name} is open on more than a port")
            source = rule.get("SourceSecurityGroupId") or rule.get("CidrIp") or rule.get("CidrIpv6")
            there.setdefault((name, rule["FromPort"]), set()).add(source)
    wrong = [door for door in wanted.keys() | there.keys() if wanted.get(door) != there.get(door)]
    return found + [f"{door[0]} admits {sorted(there.get(door, ()))} on {door[1]}" for door in wrong]


def check_groups_are_worn(stack: Stack) -> list[str]:
    found = []
    for name, group in (("ApiService", "ApiGroup"), ("DashboardService", "DashboardGroup")):
        if name in stack:
            worn = stack[name]["NetworkConfiguration"]["AwsvpcConfiguration"]["SecurityGroups"]
            if worn != [f"{group}.GroupId"]:
                found.append(f"{name} wears {worn}")
    if stack["Balancer"]["SecurityGroups"] != ["BalancerGroup.GroupId"]:
        found.append("the balancer wears another group")
    if "DatabaseInstance" in stack:
        database = stack["DatabaseInstance"]
        if database["VPCSecurityGroups"] != ["DatabaseGroup.GroupId"] or database["PubliclyAccessible"] is not False:
            found.append("the database can be reached by others")
    return found


def check_the_dashboard_finds_the_api(stack: Stack) -> list[str]:
    if "ApiService" not in stack:
        return []
    said = {one["Name"]: one["Value"] for one in stack.container("DashboardTask")["Environment"]}
    (port,) = stack.container("ApiTask")["PortMappings"]
    address = f"http://{stack['ApiName']['Name']}.{stack['Namespace']['Name']}:{port['ContainerPort']}"
    found = [] if said.get("API_URL") == address else [f"the dashboard asks {said.get('API_URL')} and not {address}"]
    if stack["ApiService"].get("ServiceRegistries") != [{"RegistryArn": "ApiName.Arn"}]:
        found.append("the API's tasks are not entered under its name")
    return found


def check_logs(stack: Stack) -> list[str]:
    groups = stack.of_type("Logs::LogGroup")
    found = [f"{name} keeps logs for ever" for name, one in groups.items() if not one.get("RetentionInDays")]
    for task in stack.resources.keys() & set(TASKS):
        log = stack.container(task).get("LogConfiguration", {"Options": {}})["Options"].get("awslogs-group")
        if log not in groups:
            found.append(f"{task} logs to {log}")
    return found


def check_alarms(stack: Stack) -> list[str]:
    alarms = stack.of_type("CloudWatch::Alarm")
    found = [f"{name} tells nobody" for name, one in alarms.items() if one.get("AlarmActions") != ["AlarmTopic"]]
    watched = {_metric(one) for one in alarms.values()}
    wanted = {
        ("HTTPCode_Target_5XX_Count", None, "Sum"),
        ("HTTPCode_ELB_5XX_Count", None, "Sum"),
        ("TargetResponseTime", "ApiTargets.TargetGroupFullName", "p95"),
        ("UnHealthyHostCount", "ApiTargets.TargetGroupFullName", "Maximum"),
        ("UnHealthyHostCount", "DashboardTargets.TargetGroupFullName", "Maximum"),
        ("Drift", None, "Sum"),
        ("Alert", None, "Sum"),
    }
    if "BatchRule" in stack:
        wanted.add(("FailedInvocations", None, "Sum"))
    return found + [f"nobody is told of {metric}" for metric, *_ in wanted - watched]


def _metric(alarm: Resource) -> tuple[str, str | None, str]:
    dimensions = {one["Name"]: one["Value"] for one in alarm.get("Dimensions", ())}
    return alarm["MetricName"], dimensions.get("TargetGroup"), alarm.get("Statistic") or alarm["ExtendedStatistic"]


def check_broken_rules_are_read_from_the_batchs_log(stack: Stack) -> list[str]:
    """Each rule's breach counts for one alarm, and the line that says that it is over for none."""
    found = []
    for name in ("Drift", "Alert"):
        metric, alarm = stack[f"{name}Metric"], stack[f"{name}Alarm"]
        (made,) = metric["MetricTransformations"]
        if metric["LogGroupName"] != "BatchLogs":
            found.append(f"{name} does not count what is in the batch's log")
        if (made["MetricNamespace"], made["MetricName"]) != (alarm["Namespace"], alarm["MetricName"]):
            found.append(f"the alarm {name} watches another metric")
    for rule in RULES:
        for event in ("breach", "resolved"):
            counts = {
                name for name in ("Drift", "Alert") if selects(stack[f"{name}Metric"]["FilterPattern"], rule, event)
            }
            wanted = set() if event == "resolved" else {"Drift"} if rule in alerts.DRIFT else {"Alert"}
            if counts != wanted:
                found.append(f"{event} of {rule} counts for {sorted(counts)}")
    return found


def selects(pattern: str, rule: str, event: str) -> bool:
    """Tell whether a metric filter of equalities selects the line that is told of a rule."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    row = dict.fromkeys(("dataset", "subject", "month", "value", "threshold", "message"), "")
    line = alerts.message_of({**row, "rule": rule, "event": event, "opened_at": at, "resolved_at": at})
    return all(line.get(name) == value for name, value in re.findall(r'\$\.(\w+) = "(\w+)"', pattern))


def check_a_failed_batch_is_told(stack: Stack) -> list[str]:
    rule = stack["BatchFailedRule"]
    found = [] if [one["Arn"] for one in rule["Targets"]] == ["AlarmTopic"] else ["a failed batch goes to nobody"]
    for told, event in (
        (True, stopped("housecast-batch", 1)),
        (True, stopped("housecast-batch", 137)),
        (True, stopped("housecast-batch", None, "TaskFailedToStart")),
        (False, stopped("housecast-batch", 0)),
        (False, stopped("housecast-api", 1)),
        (False, {**stopped("housecast-batch", 1), "source": "aws.other"}),
    ):
        if matches(rule["EventPattern"], event) != told:
            found.append(f"{event} is {'not ' if told else ''}told")
    return found


def stopped(family: str, code: int | None, stop_code: str = "EssentialContainerExited") -> Resource:
    """Return what ECS says of a task that has ended."""
    container = {"name": "batch"} if code is None else {"name": "batch", "exitCode": code}
    return {
        "source": "aws.ecs",
        "detail-type": "ECS Task State Change",
        "detail": {
            "clusterArn": "Cluster.Arn",
            "taskDefinitionArn": f"{ARN}/{family}:7",
            "lastStatus": "STOPPED",
            "stopCode": stop_code,
            "containers": [container],
        },
    }


def matches(pattern: Any, event: Any) -> bool:
    """Match as EventBridge does, of which moto leaves out objects in lists."""
    if isinstance(event, list):
        return any(matches(pattern, one) for one in event)
    if isinstance(pattern, list):
        return any(_fits(one, event) for one in pattern)
    return all(
        any(matches(one, event) for one in wanted)
        if key == "$or"
        else isinstance(event, dict) and key in event and matches(wanted, event[key])
        for key, wanted in pattern.items()
    )


def _fits(wanted: Any, value: Any) -> bool:
    match wanted:
        case {"prefix": start}:
            return isinstance(value, str) and value.startswith(start)
        case {"anything-but": other}:
            return bool(value != other)
    return bool(wanted == value)
