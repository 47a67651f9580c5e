"""The template in an account: moto's CloudFormation makes of it what it can, and the objects are looked at.

What moto 5.2.5 cannot, and is therefore checked in the resolved template (`test_stack.py`): it does not make bucket
policies, secrets, alarms, metric filters, topic policies, scaling and Cloud Map, drops what refers to them, fails on
`GetAtt` of them, and trips over `AWS::NoValue` in a list; of a task definition it keeps containers and volumes, of a
service its name and task definition, of a bucket its encryption, of a repository its mutability.
"""

import json
from ast import literal_eval
from typing import Any

import pytest

from tests.infra.conftest import Connect
from tests.infra.stack_policies import applies, as_list
from tests.infra.stack_template import GIVEN, VARIANTS, Template, choose, load

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse .* but it's not supported by moto")

LACKING = {
    "ApplicationAutoScaling::ScalableTarget",
    "ApplicationAutoScaling::ScalingPolicy",
    "CloudWatch::Alarm",
    "Logs::MetricFilter",
    "S3::BucketPolicy",
    "SNS::TopicPolicy",
    "SecretsManager::Secret",
    "ServiceDiscovery::PrivateDnsNamespace",
    "ServiceDiscovery::Service",
}


def for_moto(given: dict[str, str]) -> Template:
    made = choose(load(), given)
    del made["Rules"]
    if "ApiService" in made["Resources"]:
        del made["Resources"]["ApiService"]["Properties"]["ServiceRegistries"]
    return made


class Made:
    """A stack in moto's account."""

    def __init__(self, aws: Connect, name: str, given: dict[str, str]) -> None:
        self.aws, self.given, self.template = aws, given, for_moto(given)
        parameters = [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()]
        client = aws("cloudformation")
        client.create_stack(
            StackName=name,
            TemplateBody=json.dumps(self.template),
            Parameters=parameters,
            Capabilities=["CAPABILITY_IAM"],
        )
        (stack,) = client.describe_stacks(StackName=name)["Stacks"]
        assert stack["StackStatus"] == "CREATE_COMPLETE", stack
        self.outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
        listed = client.get_paginator("list_stack_resources").paginate(StackName=name)
        self.ids = {
            one["LogicalResourceId"]: one["PhysicalResourceId"]
            for page in listed
            for one in page["StackResourceSummaries"]
            if one["LogicalResourceId"]  # moto lists what it has not made without a name
        }

    def statements(self, role: str) -> list[dict[str, Any]]:
        client, name = self.aws("iam"), self.ids[role]
        policies = client.list_role_policies(RoleName=name)["PolicyNames"]
        documents = [client.get_role_policy(RoleName=name, PolicyName=one)["PolicyDocument"] for one in policies]
        # As Python writes it, where CloudFormation made it.
        return [statement for document in documents for statement in literal_eval(document)["Statement"]]


@pytest.fixture(scope="module")
def first(aws: Connect) -> Made:
    return Made(aws, "first", {})


@pytest.fixture(scope="module")
def made(aws: Connect) -> Made:
    return Made(aws, "housecast", GIVEN)


@pytest.fixture(scope="module")
def full(aws: Connect) -> Made:
    ec2 = aws("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(
            VpcId=vpc, CidrBlock=f"10.1.{number}.0/24", AvailabilityZone=f"eu-central-1{'ab'[number % 2]}"
        )
        for number in range(4)
    ]
    ids = [one["Subnet"]["SubnetId"] for one in subnets]
    certificate = aws("acm").request_certificate(DomainName="homes.example.org")["CertificateArn"]
    given = {
        **VARIANTS["everything"],
        "VpcId": vpc,
        "SubnetIds": ",".join(ids[:2]),
        "TaskSubnetIds": ",".join(ids[2:]),
        "CertificateArn": certificate,
    }
    return Made(aws, "full", given)


def test_everything_that_moto_knows_is_made(first: Made, made: Made, full: Made) -> None:
    for stack in (first, made, full):
        wanted = {
            name
            for name, one in stack.template["Resources"].items()
            if one["Type"].removeprefix("AWS::") not in LACKING
        }
        assert set(stack.ids) == wanted


def test_an_account_without_images_has_repositories_and_a_bucket_and_runs_nothing(first: Made) -> None:
    assert {"ApiRepository", "DashboardRepository", "Bucket", "Balancer"} <= set(first.ids)
    cluster = first.ids["Cluster"]
    assert first.aws("ecs").list_services(cluster=cluster)["serviceArns"] == []
    assert not {"ApiTask", "DashboardTask", "BatchTask", "BatchRule"} & set(first.ids)


def test_services_run_the_images_of_their_repositories(made: Made) -> None:
    ecs = made.aws("ecs")
    names = [made.ids["ApiService"], made.ids["DashboardService"]]
    services = ecs.describe_services(cluster=made.ids["Cluster"], services=names)["services"]
    assert [one["serviceName"] for one in services] == ["housecast-api", "housecast-dashboard"]
    for service, repository in zip(services, ("ApiRepositoryUri", "DashboardRepositoryUri"), strict=True):
        task = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
        (container,) = task["containerDefinitions"]
        assert container["image"] == f"{made.outputs[repository]}:{GIVEN['ImageTag']}"
        assert container["readonlyRootFilesystem"] is True


def test_the_api_is_told_the_bucket_and_the_region_that_the_stack_is_in(made: Made) -> None:
    task = made.aws("ecs").describe_task_definition(taskDefinition="housecast-api")["taskDefinition"]
    said = {one["name"]: one["value"] for one in task["containerDefinitions"][0]["environment"]}
    assert said["S3_BUCKET"] == made.outputs["Bucket"]
    assert said["AWS_REGION"] == "eu-central-1"
    assert said["BATCH_INPUT"] == f"s3://{made.outputs['Bucket']}/input/{{dataset}}.parquet"


def test_the_bucket_is_encrypted_and_repositories_never_change_a_tag(made: Made) -> None:
    encryption = made.aws("s3").get_bucket_encryption(Bucket=made.outputs["Bucket"])
    (rule,) = encryption["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    repositories = made.aws("ecr").describe_repositories(repositoryNames=["housecast/api", "housecast/dashboard"])
    assert {one["imageTagMutability"] for one in repositories["repositories"]} == {"IMMUTABLE"}


def test_the_dashboards_paths_go_to_the_dashboard_and_the_rest_to_the_api(made: Made) -> None:
    elb = made.aws("elbv2")
    (listener,) = elb.describe_listeners(LoadBalancerArn=made.ids["Balancer"])["Listeners"]
    assert (listener["Port"], listener["Protocol"]) == (80, "HTTP")
    assert [one["TargetGroupArn"] for one in listener["DefaultActions"]] == [made.ids["ApiTargets"]]
    rules = elb.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"]
    (rule,) = [one for one in rules if not one["IsDefault"]]
    assert rule["Conditions"][0]["PathPatternConfig"]["Values"] == ["/dashboard*"]
    assert [one["TargetGroupArn"] for one in rule["Actions"]] == [made.ids["DashboardTargets"]]
    assert made.outputs["Url"] == f"http://{made.outputs['BalancerName']}"


def test_with_a_certificate_http_is_sent_on_to_https(full: Made) -> None:
    elb = full.aws("elbv2")
    listeners = elb.describe_listeners(LoadBalancerArn=full.ids["Balancer"])["Listeners"]
    http, https = sorted(listeners, key=lambda one: int(one["Port"]))
    (action,) = http["DefaultActions"]
    assert (action["Type"], action["RedirectConfig"]["Protocol"]) == ("redirect", "HTTPS")
    assert https["Certificates"][0]["CertificateArn"] == full.given["CertificateArn"]
    assert [one["TargetGroupArn"] for one in https["DefaultActions"]] == [full.ids["ApiTargets"]]
    assert any(not one["IsDefault"] for one in elb.describe_rules(ListenerArn=https["ListenerArn"])["Rules"])
    assert full.outputs["Url"] == "https://homes.example.org"


def test_a_given_network_is_taken_and_none_is_made(full: Made) -> None:
    (balancer,) = full.aws("elbv2").describe_load_balancers(LoadBalancerArns=[full.ids["Balancer"]])["LoadBalancers"]
    assert balancer["VpcId"] == full.given["VpcId"]
    assert {one["SubnetId"] for one in balancer["AvailabilityZones"]} == set(full.given["SubnetIds"].split(","))
    assert not {"Vpc", "SubnetA", "Routes"} & set(full.ids)
    (database,) = full.aws("rds").describe_db_instances(DBInstanceIdentifier=full.ids["DatabaseInstance"])[
        "DBInstances"
    ]
    assert database["Engine"] == "postgres"
    assert database["PubliclyAccessible"] is False
    assert database["StorageEncrypted"] is True


def test_the_batch_is_a_rule_that_runs_its_task(made: Made) -> None:
    events = made.aws("events")
    rule = events.describe_rule(Name="housecast-batch")
    assert (rule["ScheduleExpression"], rule["State"]) == ("cron(0 6 1 * ? *)", "ENABLED")
    (target,) = events.list_targets_by_rule(Rule="housecast-batch")["Targets"]
    task = target["EcsParameters"]["TaskDefinitionArn"]
    run = [one for one in made.statements("EventsRole") if one["Action"] == "ecs:RunTask"]
    cluster = {"ecs_cluster": target["Arn"]}
    assert any(applies(one, "ecs:RunTask", task, cluster) for one in run)
    other = task.replace("housecast-batch", "housecast-api")
    assert not any(applies(one, "ecs:RunTask", other, cluster) for one in run)


def test_the_roles_policies_name_the_stacks_own_bucket(made: Made) -> None:
    bucket = f"arn:aws:s3:::{made.outputs['Bucket']}"
    named = {
        resource
        for role in ("ApiRole", "BatchRole")
        for statement in made.statements(role)
        for resource in as_list(statement["Resource"])
    }
    assert named
    assert all(resource == bucket or resource.startswith(f"{bucket}/") for resource in named)
    assert made.statements("DashboardRole") == []


def test_logs_are_kept_for_as_long_as_was_asked(made: Made) -> None:
    groups = made.aws("logs").describe_log_groups(logGroupNamePrefix="/housecast/")["logGroups"]
    assert {one["logGroupName"]: one["retentionInDays"] for one in groups} == {
        "/housecast/api": 30,
        "/housecast/batch": 30,
        "/housecast/dashboard": 30,
    }
