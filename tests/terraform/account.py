"""What the test does in moto's account beside Terraform.

    account.py ENDPOINT rights BUCKET ROLE_ARN   takes the role, checks its rights, and prints its credentials as VARIABLE=value
    account.py ENDPOINT objects BUCKET           prints how many objects there are, asking with the environment's credentials
    account.py ENDPOINT trust                    lets everybody do everything again
    account.py ENDPOINT empty BUCKET             deletes all objects
    account.py ENDPOINT left                     prints the names of what is left: buckets, roles, policies, instance profiles

From `rights` until `trust` moto asks everybody for rights. It reads no conditions and takes a statement that has any as one that denies, so
`rights` first removes the bucket's policy.
"""

import sys
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

# A bucket that is not Terraform's; it stays.
ANOTHER = "another"


def clients(endpoint, **credentials):
    options = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    session = boto3.Session(region_name="us-east-1", **credentials)
    return lambda service: session.client(service, endpoint_url=endpoint, config=options)


def account(endpoint):
    return clients(endpoint, aws_access_key_id="nobody", aws_secret_access_key="nothing")


def ask_for_rights(endpoint, after):
    """From the given number of requests on."""
    headers = {"Content-Type": "text/plain"}
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset-auth", after.encode(), headers)).read()


def rights(endpoint, bucket, role):
    as_account = account(endpoint)
    as_account("s3").delete_bucket_policy(Bucket=bucket)
    as_account("s3").create_bucket(Bucket=ANOTHER)
    as_account("s3").put_object(Bucket=ANOTHER, Key="x", Body=b"x")
    taken = as_account("sts").assume_role(RoleArn=role, RoleSessionName="broker")["Credentials"]
    ask_for_rights(endpoint, "0")

    as_broker = clients(
        endpoint,
        aws_access_key_id=taken["AccessKeyId"],
        aws_secret_access_key=taken["SecretAccessKey"],
        aws_session_token=taken["SessionToken"],
    )
    s3, iam, kms = as_broker("s3"), as_broker("iam"), as_broker("kms")
    key = {"Bucket": bucket, "Key": "shared/80/1-7-42"}

    allowed = {
        "put where nothing is": lambda: s3.put_object(**key, Body=b"silt", IfNoneMatch="*"),
        "get a range": lambda: s3.get_object(**key, Range="bytes=1-2"),
        "head": lambda: s3.head_object(**key),
        "list": lambda: s3.list_objects_v2(Bucket=bucket, MaxKeys=1),
        # Brokers delete many in one call; moto asks for the right to that on the bucket, S3 on each object.
        "delete": lambda: s3.delete_object(**key),
    }
    denied = {
        "delete the bucket": lambda: s3.delete_bucket(Bucket=bucket),
        "change the bucket's policy": lambda: s3.put_bucket_policy(Bucket=bucket, Policy="{}"),
        "change the lifecycle": lambda: s3.delete_bucket_lifecycle(Bucket=bucket),
        "turn versions on": lambda: s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}),
        "list buckets": lambda: s3.list_buckets(),
        "list another bucket": lambda: s3.list_objects_v2(Bucket=ANOTHER),
        "read another bucket": lambda: s3.get_object(Bucket=ANOTHER, Key="x"),
        "write another bucket": lambda: s3.put_object(Bucket=ANOTHER, Key="y", Body=b"y"),
        "make a user": lambda: iam.create_user(UserName="somebody"),
        "list keys": lambda: kms.list_keys(),
    }
    wrong = []
    for name, call in allowed.items():
        try:
            call()
        except ClientError as error:
            wrong.append(f"{name}: {error}")
    for name, call in denied.items():
        try:
            call()
            wrong.append(f"{name}: allowed")
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("AccessDenied", "AccessDeniedException", "403"):
                wrong.append(f"{name}: {error}")
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"AWS_ACCESS_KEY_ID={taken['AccessKeyId']}")
    print(f"AWS_SECRET_ACCESS_KEY={taken['SecretAccessKey']}")
    print(f"AWS_SESSION_TOKEN={taken['SessionToken']}")


def keys(s3, bucket):
    return [found["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket) for found in page.get("Contents", [])]


def objects(endpoint, bucket):
    """As whoever the environment says."""
    print(len(keys(clients(endpoint)("s3"), bucket)))


def trust(endpoint):
    ask_for_rights(endpoint, "inf")


def empty(endpoint, bucket):
    s3 = account(endpoint)("s3")
    for key in keys(s3, bucket):
        s3.delete_object(Bucket=bucket, Key=key)


def left(endpoint):
    s3, iam = account(endpoint)("s3"), account(endpoint)("iam")
    print(
        *(found["Name"] for found in s3.list_buckets()["Buckets"]),
        *(found["RoleName"] for found in iam.list_roles()["Roles"]),
        *(found["PolicyName"] for found in iam.list_policies(Scope="Local")["Policies"]),
        *(found["InstanceProfileName"] for found in iam.list_instance_profiles()["InstanceProfiles"]),
    )


if __name__ == "__main__":
    endpoint, command, *arguments = sys.argv[1:]
    {"rights": rights, "objects": objects, "trust": trust, "empty": empty, "left": left}[command](endpoint, *arguments)
