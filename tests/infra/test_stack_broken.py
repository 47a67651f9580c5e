"""Copies of the template, each broken in one place: the check that is for it finds it."""

from typing import Any

import pytest

from tests.infra.stack_checks import CHECKS, findings
from tests.infra.stack_template import Template, load

GONE = object()


def path_of(text: str) -> list[str | int]:
    return [int(part) if part.isdigit() else part for part in text.split("/")]


def broken(template: Template, path: str, value: Any) -> Template:
    """Put a value, or nothing, at a place below Resources; a function makes it of what is there."""
    *way, last = path_of(path)
    node: Any = template["Resources"]
    for step in way:
        node = node[step]
    if value is GONE:
        del node[last]
    elif callable(value):
        node[last] = value(node[last])
    else:
        node[last] = value
    return template


API = "ApiTask/Properties/ContainerDefinitions/0"
DASHBOARD = "DashboardTask/Properties/ContainerDefinitions/0"
RULES_READ = "broken_rules_are_read_from_the_batchs_log"
BATCH = "BatchTask/Properties/ContainerDefinitions/0"
API_POLICY = "ApiRole/Properties/Policies/0/PolicyDocument/Statement"
BATCH_POLICY = "BatchRole/Properties/Policies/0/PolicyDocument/Statement"
EVENTS_POLICY = "EventsRole/Properties/Policies/0/PolicyDocument/Statement"
START_POLICY = "ExecutionRole/Properties/Policies/0/PolicyDocument/Statement"
DEPLOY_POLICY = "DeployRole/Properties/Policies/0/PolicyDocument/Statement"
EVERYBODY = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "CidrIp": "0.0.0.0/0"}


def without(name: str) -> Any:
    """Drop a setting from a list of them."""
    return lambda there: [one for one in there if one.get("Name") != name]


def also(one: Any) -> Any:
    return lambda there: [*there, one]


BREAKS: list[tuple[str, str, str, Any]] = [
    # check, a part of what it says, where, and what is put there
    ("containers_run_what_the_images_have", "ports [8080]", f"{API}/PortMappings/0/ContainerPort", 8080),
    ("containers_run_what_the_images_have", "replaces the image's command", f"{API}/Command", ["uvicorn"]),
    ("containers_run_what_the_images_have", "another health check", f"{API}/HealthCheck", GONE),
    ("containers_run_what_the_images_have", "another health check", f"{DASHBOARD}/HealthCheck/StartPeriod", 0),
    ("containers_run_what_the_images_have", "runs as root", f"{API}/User", "root"),
    ("containers_are_confined", "can be written", f"{BATCH}/ReadonlyRootFilesystem", GONE),
    ("containers_are_confined", "nothing to write on", f"{API}/MountPoints", GONE),
    ("containers_are_confined", "nothing to write on", f"{DASHBOARD}/MountPoints/0/ContainerPath", "/tmp"),
    ("containers_are_confined", "keeps capabilities", f"{API}/LinuxParameters", GONE),
    ("containers_are_confined", "not of the size", "ApiTask/Properties/Memory", "2048"),
    ("settings", "ApiTask lacks API_KEYS", f"{API}/Secrets", without("API_KEYS")),
    ("settings", "DashboardTask lacks API_KEY", f"{DASHBOARD}/Secrets", GONE),
    ("settings", "DashboardTask lacks API_URL", f"{DASHBOARD}/Environment", without("API_URL")),
    ("settings", "BatchTask lacks DATABASE_URL", f"{BATCH}/Secrets", GONE),
    ("settings", "BUCKET is no setting", f"{API}/Environment", also({"Name": "BUCKET", "Value": "b"})),
    ("settings", "is not from a secret", f"{API}/Environment", also({"Name": "API_KEYS", "Value": "a:read:0"})),
    ("settings", "drain_seconds is no value", f"{API}/Environment", also({"Name": "DRAIN_SECONDS", "Value": "long"})),
    ("services", "is not taken back", "ApiService/Properties/DeploymentConfiguration/DeploymentCircuitBreaker", GONE),
    (
        "services",
        "is not taken back",
        "DashboardService/Properties/DeploymentConfiguration/DeploymentCircuitBreaker/Rollback",
        False,
    ),
    ("services", "undoes what scaling did", "ApiService/Properties/DesiredCount", 2),
    ("services", "fewer tasks", "ApiService/Properties/DeploymentConfiguration/MinimumHealthyPercent", 0),
    ("services", "container or port", "ApiService/Properties/LoadBalancers/0/ContainerPort", 80),
    ("services", "the balancer asks /health/live", "ApiTargets/Properties/HealthCheckPath", "/health/live"),
    ("services", "another port", "DashboardTargets/Properties/Port", 8502),
    (
        "services",
        "a way to the registry",
        "ApiService/Properties/NetworkConfiguration/AwsvpcConfiguration/AssignPublicIp",
        "DISABLED",
    ),
    ("stopping", "may need 33", f"{API}/StopTimeout", 30),
    ("stopping", "idle connections end after 120", "Balancer/Properties/LoadBalancerAttributes/0/Value", "120"),
    ("stopping", "longer than a target", "ApiTargets/Properties/TargetGroupAttributes/0/Value", "5"),
    ("stopping", "know a task's address", "ApiName/Properties/DnsConfig/DnsRecords/0/TTL", 60),
    ("scaling", "ApiService scales by", "ApiRequestScaling", GONE),
    ("scaling", "DashboardService scales by", "DashboardCpuScaling", GONE),
    ("scaling", "cannot grow", "ApiScaling/Properties/MaxCapacity", 2),
    ("batch", "does not run the batch", f"{BATCH}/Command", ["python", "-m", "src.api.main"]),
    ("batch", "no schedule", "BatchRule/Properties/State", "DISABLED"),
    (
        "batch",
        "another task",
        "BatchRule/Properties/Targets/0/EcsParameters/TaskDefinitionArn",
        {"Ref": "ApiTask"},
    ),
    (
        "balancer",
        "not redirected",
        "HttpListener/Properties/DefaultActions/0",
        {"TargetGroupArn": {"Ref": "ApiTargets"}},
    ),
    ("balancer", "/dashboard* does not go", "DashboardRule/Properties/Actions/0/TargetGroupArn", {"Ref": "ApiTargets"}),
    ("balancer", "at the wrong listener", "DashboardRule/Properties/ListenerArn", {"Ref": "HttpListener"}),
    ("balancer", "not held to its task", "DashboardTargets/Properties/TargetGroupAttributes/1/Value", "false"),
    (
        "doors",
        "ApiGroup admits",
        "ApiGroup/Properties/SecurityGroupIngress/0",
        {**EVERYBODY, "FromPort": 8000, "ToPort": 8000},
    ),
    ("doors", "DatabaseGroup admits", "DatabaseGroup/Properties/SecurityGroupIngress", also(EVERYBODY)),
    ("doors", "more than a port", "DashboardGroup/Properties/SecurityGroupIngress/0/ToPort", 9000),
    ("doors", "BatchGroup admits", "BatchGroup/Properties/SecurityGroupIngress", [EVERYBODY]),
    (
        "groups_are_worn",
        "ApiService wears",
        "ApiService/Properties/NetworkConfiguration/AwsvpcConfiguration/SecurityGroups",
        [],
    ),
    ("groups_are_worn", "reached by others", "DatabaseInstance/Properties/PubliclyAccessible", True),
    ("the_dashboard_finds_the_api", "the dashboard asks", "ApiName/Properties/Name", "other"),
    ("the_dashboard_finds_the_api", "not entered", "ApiService/Properties/ServiceRegistries", GONE),
    ("logs", "for ever", "BatchLogs/Properties/RetentionInDays", GONE),
    ("logs", "logs to", f"{BATCH}/LogConfiguration", GONE),
    ("alarms", "tells nobody", "LatencyAlarm/Properties/AlarmActions", GONE),
    ("alarms", "nobody is told of TargetResponseTime", "LatencyAlarm/Properties/ExtendedStatistic", "p50"),
    ("alarms", "nobody is told of HTTPCode_ELB_5XX_Count", "BalancerErrorsAlarm", GONE),
    ("alarms", "nobody is told of UnHealthyHostCount", "DashboardUnhealthyAlarm", GONE),
    ("alarms", "nobody is told of FailedInvocations", "BatchNotStartedAlarm", GONE),
    (RULES_READ, "does not count", "DriftMetric/Properties/LogGroupName", {"Ref": "ApiLogs"}),
    (RULES_READ, "another metric", "AlertAlarm/Properties/MetricName", "Drifts"),
    (RULES_READ, "resolved of max_mdape", "AlertMetric/Properties/FilterPattern", '{ $.event = "alert" }'),
    (RULES_READ, "breach of max_drift_share", "DriftMetric/Properties/FilterPattern", '{ $.event = "drifts" }'),
    (
        "a_failed_batch_is_told",
        "is not told",
        "BatchFailedRule/Properties/EventPattern/detail/$or/0/containers/exitCode",
        [1],
    ),
    ("a_failed_batch_is_told", "is not told", "BatchFailedRule/Properties/EventPattern/detail/$or/1", GONE),
    ("a_failed_batch_is_told", "is told", "BatchFailedRule/Properties/EventPattern/detail/$or", GONE),
    ("a_failed_batch_is_told", "goes to nobody", "BatchFailedRule/Properties/Targets", []),
    ("who_may_do_what", "ApiRole may not s3:PutObject", f"{API_POLICY}/2", GONE),
    (
        "who_may_do_what",
        "ApiRole may not s3:ListBucket",
        f"{API_POLICY}/0/Condition",
        {"StringEquals": {"s3:prefix": "m"}},
    ),
    (
        "who_may_do_what",
        "ApiRole may s3:PutObject",
        f"{API_POLICY}/2/Resource/0",
        {"Fn::Sub": "${Bucket.Arn}/models/*"},
    ),
    ("who_may_do_what", "BatchRole may s3:PutObject", f"{BATCH_POLICY}/2/Resource", {"Fn::Sub": "${Bucket.Arn}/*"}),
    ("who_may_do_what", "EventsRole may ecs:RunTask", f"{EVENTS_POLICY}/0/Condition", GONE),
    ("who_may_do_what", "EventsRole may iam:PassRole", f"{EVENTS_POLICY}/1/Condition", GONE),
    (
        "who_may_do_what",
        "DashboardRole may s3:GetObject",
        "DashboardRole/Properties/Policies",
        [{"PolicyDocument": {"Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]}}],
    ),
    ("who_may_do_what", "DeployRole may iam:PassRole DeployRole", f"{DEPLOY_POLICY}/6/Resource", "*"),
    ("who_may_do_what", "DeployRole may iam:PassRole EventsRole", f"{DEPLOY_POLICY}/7/Condition", GONE),
    ("no_wildcards", "may s3:*", f"{API_POLICY}/1/Action", "s3:*"),
    ("no_wildcards", "on everything", f"{API_POLICY}/1/Resource", "*"),
    ("no_wildcards", "Bucket.Arn/*", f"{BATCH_POLICY}/1/Resource/0", {"Fn::Sub": "${Bucket.Arn}/*"}),
    ("no_wildcards", "on everything", f"{START_POLICY}/0/Action", ["ecr:GetAuthorizationToken", "ecr:PutImage"]),
    (
        "no_wildcards",
        "not the stack's",
        "ApiRole/Properties/ManagedPolicyArns",
        ["arn:aws:iam::aws:policy/ReadOnlyAccess"],
    ),
    (
        "who_may_take_a_role",
        "ApiRole can be taken by",
        "ApiRole/Properties/AssumeRolePolicyDocument/Statement/0/Principal",
        {"AWS": "*"},
    ),
    (
        "who_may_take_a_role",
        "DeployRole can be taken by",
        "DeployRole/Properties/AssumeRolePolicyDocument/Statement/0/Condition",
        {"StringLike": {"token.actions.githubusercontent.com:sub": "repo:*"}},
    ),
    ("who_may_take_a_role", "another role", "BatchTask/Properties/TaskRoleArn", {"Fn::GetAtt": ["ApiRole", "Arn"]}),
    ("secrets", "is written in the template", "ApiKeys/Properties", {"SecretString": "a:read:0"}),
    ("secrets", "password is written", "DatabaseInstance/Properties/MasterUserPassword", "hunter2hunter2"),
    ("secrets", "cannot be read", f"{START_POLICY}/3/Resource", [{"Ref": "DashboardKey"}]),
    ("secrets", "is from", f"{API}/Secrets/0/ValueFrom", "arn:of:another"),
    ("bucket", "no versions", "Bucket/Properties/VersioningConfiguration", GONE),
    ("bucket", "not encrypted", "Bucket/Properties/BucketEncryption", GONE),
    ("bucket", "made public", "Bucket/Properties/PublicAccessBlockConfiguration/BlockPublicPolicy", False),
    ("bucket", "lets others in", "BucketPolicy/Properties/PolicyDocument/Statement/0/Effect", "Allow"),
    ("bucket", "without TLS", "BucketPolicy/Properties/PolicyDocument/Statement/0/Resource", [{"Ref": "Bucket"}]),
    ("bucket", "is denied", "BucketPolicy/Properties/PolicyDocument/Statement/0/Condition", GONE),
    ("bucket", "for ever", "Bucket/Properties/LifecycleConfiguration", GONE),
    (
        "bucket",
        "expires",
        "Bucket/Properties/LifecycleConfiguration/Rules",
        also({"Status": "Enabled", "ExpirationInDays": 9}),
    ),
    ("bucket", "goes with the stack", "Bucket/DeletionPolicy", "Delete"),
    ("repositories", "can be moved", "ApiRepository/Properties/ImageTagMutability", "MUTABLE"),
    ("repositories", "not scanned", "DashboardRepository/Properties/ImageScanningConfiguration", GONE),
    ("repositories", "for ever", "ApiRepository/Properties/LifecyclePolicy", GONE),
    (
        "alarms_may_be_sent",
        "events.amazonaws.com cannot",
        "AlarmTopicPolicy/Properties/PolicyDocument/Statement/1",
        GONE,
    ),
    ("alarms_may_be_sent", "for any account", "AlarmTopicPolicy/Properties/PolicyDocument/Statement/0/Condition", GONE),
    ("nothing_of_an_account_is_written", "an account", "ApiLogs/Properties/LogGroupName", "/123456789012/api"),
    ("nothing_of_an_account_is_written", "a region", "ApiLogs/Properties/LogGroupName", "/eu-central-1/api"),
    ("nothing_of_an_account_is_written", "bucket's name", "Bucket/Properties/BucketName", "homes"),
]


@pytest.mark.parametrize(("check", "said", "path", "value"), BREAKS, ids=[f"{one[0]}-{one[2]}" for one in BREAKS])
def test_a_broken_copy_is_found(check: str, said: str, path: str, value: Any) -> None:
    # The two between them have every resource and every choice.
    found = findings(broken(load(), path, value), [check], ["plain", "everything"])
    assert [text for text in found if said in text], found


def test_every_check_has_found_something() -> None:
    assert {one[0] for one in BREAKS} == set(CHECKS)


def test_a_reference_to_what_a_condition_leaves_out_is_found() -> None:
    with pytest.raises(KeyError, match="BatchTask refers to DatabaseUrl"):
        findings(broken(load(), f"{BATCH}/Secrets", [{"Name": "DATABASE_URL", "ValueFrom": {"Ref": "DatabaseUrl"}}]))
