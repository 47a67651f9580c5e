"""What must hold of roles, secrets, bucket and repositories. Each check returns what is wrong, in words."""

import json
import re
from typing import Any

from tests.infra.stack_policies import allows, applies, as_list, statements
from tests.infra.stack_template import Stack

# IAM offers no resource for these (a test asks the linter's copy of AWS's reference).
WITHOUT_RESOURCE = {"ecr:GetAuthorizationToken", "ecs:DescribeTaskDefinition", "ec2:DescribeAvailabilityZones"}
ECS = "arn:aws:ecs:REGION:ACCOUNT"
TASKS = f"{ECS}:task-definition"
VERSION = "Bucket.Arn/models/housets/20261120T231500Z-1a2b3c4d"
POINTER = "Bucket.Arn/models/housets/current.json"
MONTH = "Bucket.Arn/predictions/housets/preds_2022_03.parquet"
INPUT = "Bucket.Arn/input/housets.parquet"
TO_TASKS = {"iam_PassedToService": "ecs-tasks.amazonaws.com"}
TO_EVENTS = {"iam_PassedToService": "events.amazonaws.com"}
ON_CLUSTER = {"ecs_cluster": "Cluster.Arn"}
DATABASE_URL = re.compile(
    r"postgresql://housecast:\{\{resolve:secretsmanager:DatabasePassword:SecretString:password\}\}@DatabaseInstance\.[^@]+"
)
Case = tuple[str, str, str, dict[str, str]]
MAY: list[Case] = [
    ("ApiRole", "s3:ListBucket", "Bucket.Arn", {}),
    ("ApiRole", "s3:GetObject", f"{VERSION}/manifest.json", {}),
    ("ApiRole", "s3:GetObject", POINTER, {}),
    ("ApiRole", "s3:PutObject", POINTER, {}),
    ("ApiRole", "s3:GetObject", MONTH, {}),
    ("ApiRole", "s3:PutObject", MONTH, {}),
    ("ApiRole", "s3:GetObject", INPUT, {}),
    ("BatchRole", "s3:ListBucket", "Bucket.Arn", {}),
    ("BatchRole", "s3:GetObject", f"{VERSION}/model.ubj", {}),
    ("BatchRole", "s3:GetObject", INPUT, {}),
    ("BatchRole", "s3:PutObject", MONTH, {}),
    ("ExecutionRole", "ecr:GetAuthorizationToken", "*", {}),
    ("ExecutionRole", "ecr:BatchGetImage", "ApiRepository.Arn", {}),
    ("ExecutionRole", "ecr:GetDownloadUrlForLayer", "DashboardRepository.Arn", {}),
    ("ExecutionRole", "logs:PutLogEvents", "ApiLogs.Arn", {}),
    ("ExecutionRole", "logs:CreateLogStream", "BatchLogs.Arn", {}),
    ("ExecutionRole", "secretsmanager:GetSecretValue", "ApiKeys", {}),
    ("ExecutionRole", "secretsmanager:GetSecretValue", "DashboardKey", {}),
    ("EventsRole", "ecs:RunTask", f"{TASKS}/housecast-batch:7", ON_CLUSTER),
    ("EventsRole", "iam:PassRole", "BatchRole.Arn", TO_TASKS),
    ("EventsRole", "iam:PassRole", "ExecutionRole.Arn", TO_TASKS),
    ("DeployRole", "ecr:GetAuthorizationToken", "*", {}),
    ("DeployRole", "ecr:PutImage", "ApiRepository.Arn", {}),
    ("DeployRole", "ecr:PutImage", "DashboardRepository.Arn", {}),
    ("DeployRole", "ecr:DescribeImages", "ApiRepository.Arn", {}),
    ("DeployRole", "cloudformation:UpdateStack", "STACK-ID", {}),
    ("DeployRole", "cloudformation:DescribeStacks", "STACK-ID", {}),
    ("DeployRole", "cloudformation:GetTemplate", "STACK-ID", {}),
    ("DeployRole", "ecs:RegisterTaskDefinition", f"{TASKS}/housecast-api:8", {}),
    ("DeployRole", "ecs:UpdateService", f"{ECS}:service/Cluster/housecast-api", {}),
    ("DeployRole", "ecs:DescribeServices", f"{ECS}:service/Cluster/housecast-dashboard", {}),
    ("DeployRole", "events:PutTargets", "arn:aws:events:REGION:ACCOUNT:rule/housecast-batch", {}),
    ("DeployRole", "iam:PassRole", "ApiRole.Arn", TO_TASKS),
    ("DeployRole", "iam:PassRole", "EventsRole.Arn", TO_EVENTS),
    ("MonthlyRole", "events:ListTargetsByRule", "arn:aws:events:REGION:ACCOUNT:rule/housecast-batch", {}),
    ("MonthlyRole", "ecs:DescribeTaskDefinition", "*", {}),
    ("MonthlyRole", "ecs:RunTask", f"{TASKS}/housecast-batch:7", ON_CLUSTER),
    ("MonthlyRole", "ecs:DescribeTasks", f"{ECS}:task/Cluster/0123", {}),
    ("MonthlyRole", "iam:PassRole", "BatchRole.Arn", TO_TASKS),
    ("MonthlyRole", "iam:PassRole", "ExecutionRole.Arn", TO_TASKS),
    ("MonthlyRole", "s3:ListBucket", "Bucket.Arn", {}),
    ("MonthlyRole", "s3:GetObject", "Bucket.Arn/raw/housets.parquet", {}),
    ("MonthlyRole", "s3:GetObject", POINTER, {}),
    ("MonthlyRole", "s3:PutObject", POINTER, {}),
    ("MonthlyRole", "s3:PutObject", f"{VERSION}/manifest.json", {}),
    ("MonthlyRole", "s3:PutObject", MONTH, {}),
]
MAY_NOT: list[Case] = [
    ("ApiRole", "s3:PutObject", f"{VERSION}/manifest.json", {}),
    ("ApiRole", "s3:PutObject", INPUT, {}),
    ("ApiRole", "s3:DeleteObject", POINTER, {}),
    ("ApiRole", "s3:DeleteObject", MONTH, {}),
    ("ApiRole", "s3:GetObject", "Other.Arn/models/housets/current.json", {}),
    ("ApiRole", "s3:GetObject", "Bucket.Arn/elsewhere/file", {}),
    ("ApiRole", "s3:PutBucketPolicy", "Bucket.Arn", {}),
    ("ApiRole", "secretsmanager:GetSecretValue", "ApiKeys", {}),
    ("BatchRole", "s3:PutObject", POINTER, {}),
    ("BatchRole", "s3:PutObject", f"{VERSION}/model.ubj", {}),
    ("BatchRole", "s3:PutObject", INPUT, {}),
    ("BatchRole", "s3:DeleteObject", MONTH, {}),
    ("BatchRole", "secretsmanager:GetSecretValue", "DashboardKey", {}),
    ("DashboardRole", "s3:GetObject", POINTER, {}),
    ("DashboardRole", "s3:ListBucket", "Bucket.Arn", {}),
    ("ExecutionRole", "ecr:PutImage", "ApiRepository.Arn", {}),
    ("ExecutionRole", "secretsmanager:GetSecretValue", "Another", {}),
    ("ExecutionRole", "secretsmanager:PutSecretValue", "ApiKeys", {}),
    ("ExecutionRole", "s3:GetObject", POINTER, {}),
    ("EventsRole", "ecs:RunTask", f"{TASKS}/housecast-api:7", ON_CLUSTER),
    ("EventsRole", "ecs:RunTask", f"{TASKS}/housecast-batch:7", {"ecs_cluster": "Another.Arn"}),
    ("EventsRole", "iam:PassRole", "ApiRole.Arn", TO_TASKS),
    ("EventsRole", "iam:PassRole", "BatchRole.Arn", {"iam_PassedToService": "ec2.amazonaws.com"}),
    ("DeployRole", "cloudformation:DeleteStack", "STACK-ID", {}),
    ("DeployRole", "cloudformation:UpdateStack", "another-stack", {}),
    ("DeployRole", "ecr:BatchDeleteImage", "ApiRepository.Arn", {}),
    ("DeployRole", "ecs:UpdateService", f"{ECS}:service/Another/api", {}),
    ("DeployRole", "ecs:RegisterTaskDefinition", f"{TASKS}/another:1", {}),
    ("DeployRole", "ecs:RunTask", f"{TASKS}/housecast-batch:7", {}),
    ("DeployRole", "iam:PassRole", "DeployRole.Arn", TO_TASKS),
    ("DeployRole", "iam:PassRole", "ApiRole.Arn", {"iam_PassedToService": "lambda.amazonaws.com"}),
    ("DeployRole", "iam:PassRole", "EventsRole.Arn", TO_TASKS),
    ("DeployRole", "iam:PutRolePolicy", "ApiRole.Arn", {}),
    ("DeployRole", "iam:CreateRole", "DeployRole.Arn", {}),
    ("DeployRole", "s3:GetObject", POINTER, {}),
    ("DeployRole", "secretsmanager:GetSecretValue", "ApiKeys", {}),
    ("MonthlyRole", "ecs:RunTask", f"{TASKS}/housecast-api:7", ON_CLUSTER),
    ("MonthlyRole", "ecs:RunTask", f"{TASKS}/housecast-batch:7", {"ecs_cluster": "Another.Arn"}),
    ("MonthlyRole", "iam:PassRole", "ApiRole.Arn", TO_TASKS),
    ("MonthlyRole", "s3:PutObject", INPUT, {}),
    ("MonthlyRole", "s3:PutObject", "Bucket.Arn/raw/housets.parquet", {}),
    ("MonthlyRole", "s3:DeleteObject", POINTER, {}),
    ("MonthlyRole", "secretsmanager:GetSecretValue", "ApiKeys", {}),
]


def check_who_may_do_what(stack: Stack) -> list[str]:
    found = []
    for said, wanted, cases in (("may not", True, MAY), ("may", False, MAY_NOT)):
        for role, action, on, given in cases:
            if role in stack and allows(stack, role, action, on, **given) != wanted:
                found.append(f"{role} {said} {action} {on}")
    return found


def check_no_wildcards(stack: Stack) -> list[str]:
    found = []
    for role in stack.of_type("IAM::Role"):
        for one in statements(stack, role):
            actions, resources = as_list(one["Action"]), as_list(one["Resource"])
            if one["Effect"] != "Allow" or "NotAction" in one or "NotResource" in one:
                found.append(f"{role}: says what is not meant")
            found += [f"{role} may {action}" for action in actions if "*" in action]
            if "*" in resources and not set(actions) <= WITHOUT_RESOURCE:
                found.append(f"{role} may {actions} on everything")
            # Only the end of a name may be open, and one folder of it: keys, and revisions of a task.
            found += [
                f"{role} may {actions} on {one}"
                for one in resources
                if "*" in one
                and one != "*"
                and not re.fullmatch(
                    r"Bucket\.Arn/[a-z]+/\*(/current\.json)?|[^*]+/housecast-[a-z]+:\*|[^*]+:task/Cluster/\*", one
                )
            ]
        if stack[role].get("ManagedPolicyArns"):
            found.append(f"{role} has policies that are not the stack's")
    return found


def check_who_may_take_a_role(stack: Stack) -> list[str]:
    here = {"StringEquals": {"aws:SourceAccount": "ACCOUNT"}}
    wanted: dict[str, Any] = dict.fromkeys(
        ("ExecutionRole", "ApiRole", "DashboardRole", "BatchRole"), ({"Service": "ecs-tasks.amazonaws.com"}, here)
    )
    wanted["EventsRole"] = ({"Service": "events.amazonaws.com"}, None)
    github = "token.actions.githubusercontent.com"
    repository, subject = stack.parameters["GitHubRepository"], stack.parameters["GitHubSubject"]
    said = {f"{github}:aud": "sts.amazonaws.com", f"{github}:sub": f"repo:{repository}:{subject}"}
    provider = {"Federated": stack.parameters["GitHubProviderArn"]}
    wanted["DeployRole"] = (provider, {"StringEquals": said})
    by_hand = {**said, f"{github}:sub": f"repo:{repository}:environment:monthly"}
    wanted["MonthlyRole"] = (provider, {"StringEquals": by_hand})
    found = []
    for role, properties in stack.of_type("IAM::Role").items():
        (one,) = properties["AssumeRolePolicyDocument"]["Statement"]
        if (one["Principal"], one.get("Condition")) != wanted[role]:
            found.append(f"{role} can be taken by {one['Principal']}")
    tasks = {"ApiTask": "ApiRole", "DashboardTask": "DashboardRole", "BatchTask": "BatchRole"}
    for task, role in tasks.items():
        if task in stack and (stack[task]["TaskRoleArn"], stack[task]["ExecutionRoleArn"]) != (
            f"{role}.Arn",
            "ExecutionRole.Arn",
        ):
            found.append(f"{task} has another role")
    return found


def check_secrets(stack: Stack) -> list[str]:
    found = []
    secrets = stack.of_type("SecretsManager::Secret")
    for name, secret in secrets.items():
        made = "GenerateSecretString" in secret and "SecretString" not in secret
        if not made and not DATABASE_URL.fullmatch(secret.get("SecretString", "")):
            found.append(f"{name} is written in the template")
    for task in ("ApiTask", "DashboardTask", "BatchTask"):
        for one in stack.container(task).get("Secrets", ()) if task in stack else ():
            if one["ValueFrom"] not in secrets:
                found.append(f"{task}: {one['Name']} is from {one['ValueFrom']}")
            elif not allows(stack, "ExecutionRole", "secretsmanager:GetSecretValue", one["ValueFrom"]):
                found.append(f"{task}: {one['Name']} cannot be read")
    if "DatabaseInstance" in stack and not stack["DatabaseInstance"]["MasterUserPassword"].startswith("{{resolve:"):
        found.append("the database's password is written in the template")
    return found


def check_bucket(stack: Stack) -> list[str]:
    found = []
    bucket, policy = stack["Bucket"], stack["BucketPolicy"]
    if bucket.get("VersioningConfiguration") != {"Status": "Enabled"}:
        found.append("the bucket keeps no versions")
    if "BucketEncryption" not in bucket:
        found.append("the bucket is not encrypted")
    blocked = bucket.get("PublicAccessBlockConfiguration", {})
    if len(blocked) != 4 or not all(value is True for value in blocked.values()):
        found.append("the bucket could be made public")
    rules = bucket.get("LifecycleConfiguration", {"Rules": []})["Rules"]
    if not any("NoncurrentVersionExpiration" in one and one["Status"] == "Enabled" for one in rules):
        found.append("old versions stay for ever")
    # Versions of a model are written once, and the pointer goes back to any of them.
    found += ["what is current expires" for one in rules if {"ExpirationInDays", "ExpirationDate"} & set(one)]
    if stack.resources["Bucket"].get("DeletionPolicy") != "Retain":
        found.append("the bucket goes with the stack")
    said = policy["PolicyDocument"]["Statement"]
    if policy["Bucket"] != "Bucket" or any(one["Effect"] == "Allow" for one in said):
        found.append("the bucket's policy lets others in")
    plain = {"aws_SecureTransport": "false"}
    for action, on in (("s3:GetObject", POINTER), ("s3:ListBucket", "Bucket.Arn")):
        if not any(one["Principal"] == "*" and applies(one, action, on, plain) for one in said):
            found.append(f"{action} goes without TLS")
        if any(applies(one, action, on, {"aws_SecureTransport": "true"}) for one in said):
            found.append(f"{action} is denied")
    return found


def check_repositories(stack: Stack) -> list[str]:
    found = []
    for name, one in stack.of_type("ECR::Repository").items():
        if one.get("ImageTagMutability") != "IMMUTABLE":
            found.append(f"{name}: a tag can be moved")
        if one.get("ImageScanningConfiguration") != {"ScanOnPush": True}:
            found.append(f"{name} is not scanned")
        rules = json.loads(one.get("LifecyclePolicy", {}).get("LifecyclePolicyText", '{"rules": []}'))["rules"]
        if [rule["selection"]["tagStatus"] for rule in rules] != ["untagged", "any"]:
            found.append(f"{name} grows for ever")
    return found


def check_alarms_may_be_sent(stack: Stack) -> list[str]:
    said = stack["AlarmTopicPolicy"]["PolicyDocument"]["Statement"]
    found = [f"{one['Principal']} may publish" for one in said if set(one["Principal"]) != {"Service"}]
    # SNS knows the account of an alarm, and nothing of a rule.
    for service, context in (
        ("cloudwatch.amazonaws.com", {"aws_SourceAccount": "ACCOUNT"}),
        ("events.amazonaws.com", {}),
    ):
        mine = [one for one in said if one["Principal"] == {"Service": service}]
        if not any(applies(one, "sns:Publish", "AlarmTopic", context) for one in mine):
            found.append(f"{service} cannot publish")
        if context and any(applies(one, "sns:Publish", "AlarmTopic", {}) for one in mine):
            found.append(f"{service} publishes for any account")
    return found


def check_nothing_of_an_account_is_written(stack: Stack) -> list[str]:
    text = json.dumps(stack.resources)
    found = [f"an account: {one}" for one in re.findall(r"\b\d{12}\b", text)]
    found += [f"a region: {one}" for one in re.findall(r"\b(?:us|eu|ap|sa|ca|me|af|il)-[a-z]+-\d\b", text)]
    return found + (["the bucket's name"] if "BucketName" in stack["Bucket"] else [])
