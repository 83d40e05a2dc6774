# Plans with a mocked provider: no account is needed. Applies would leave what may not be destroyed.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws", dns_suffix = "amazonaws.com" }
  }
  mock_data "aws_region" {
    defaults = { id = "eu-central-1" }
  }
}

variables {
  name = "silt"
}

run "a_bucket_is_private_encrypted_and_without_versions" {
  command = plan

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.store.block_public_acls,
      aws_s3_bucket_public_access_block.store.block_public_policy,
      aws_s3_bucket_public_access_block.store.ignore_public_acls,
      aws_s3_bucket_public_access_block.store.restrict_public_buckets,
    ])
    error_message = "public access is not blocked"
  }
  assert {
    condition     = one(aws_s3_bucket_ownership_controls.store.rule).object_ownership == "BucketOwnerEnforced"
    error_message = "objects could belong to others, or have access lists"
  }
  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.store.rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"
    error_message = "objects are not encrypted by S3"
  }
  assert {
    condition     = length(aws_s3_bucket_versioning.store) == 0
    error_message = "versions are kept, and paid for, though nobody asked for it"
  }
  assert {
    condition     = !aws_s3_bucket.store.force_destroy
    error_message = "Terraform would delete a bucket with data"
  }
  assert {
    condition     = length(aws_kms_key.store) + length(aws_s3_bucket_metric.store) == 0
    error_message = "something that costs money was made, though nobody asked for it"
  }
}

run "no_rule_removes_a_live_object" {
  command = plan

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.store.rule[*].id == tolist(["abort-incomplete-uploads"])
    error_message = "there is a rule that this test does not know"
  }
  assert {
    condition     = length(flatten([for rule in aws_s3_bucket_lifecycle_configuration.store.rule : [rule.expiration, rule.transition]])) == 0
    error_message = "a rule expires objects, or moves them to where they may not be readable at once"
  }
  assert {
    condition     = one(aws_s3_bucket_lifecycle_configuration.store.rule[*].abort_incomplete_multipart_upload[0].days_after_initiation) == 1
    error_message = "parts of uploads that nobody completes would be paid for ever after"
  }
}

run "deleted_objects_can_be_kept_for_a_while" {
  command = plan
  variables {
    undelete_days = 30
  }

  assert {
    condition     = one(one(aws_s3_bucket_versioning.store).versioning_configuration).status == "Enabled"
    error_message = "versions are off"
  }
  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.store.rule[*].id == tolist(["abort-incomplete-uploads", "drop-deleted-versions"])
    error_message = "there is a rule that this test does not know"
  }
  # S3 refuses a rule that expires by age as well as markers.
  assert {
    condition     = one(aws_s3_bucket_lifecycle_configuration.store.rule[1].expiration).expired_object_delete_marker
    error_message = "the rule expires something else than the marks of deleted objects"
  }
  assert {
    condition     = one(aws_s3_bucket_lifecycle_configuration.store.rule[1].noncurrent_version_expiration).noncurrent_days == 30
    error_message = "deleted objects are not kept for as long as was said"
  }
}

run "the_bucket_refuses_plain_connections_and_overwrites" {
  command = plan

  assert {
    condition = jsondecode(aws_s3_bucket_policy.store.policy).Statement == [
      {
        Sid       = "OnlyOverTls", Effect = "Deny", Principal = "*", Action = "s3:*"
        Resource  = ["arn:aws:s3:::silt", "arn:aws:s3:::silt/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        Sid       = "OnlyTls12OrNewer", Effect = "Deny", Principal = "*", Action = "s3:*"
        Resource  = ["arn:aws:s3:::silt", "arn:aws:s3:::silt/*"]
        Condition = { NumericLessThan = { "s3:TlsVersion" = "1.2" } }
      },
      {
        Sid       = "OnlyWhereNothingIs", Effect = "Deny", Principal = "*", Action = "s3:PutObject"
        Resource  = "arn:aws:s3:::silt/*"
        Condition = { Null = { "s3:if-none-match" = "true" }, Bool = { "s3:ObjectCreationOperation" = "true" } }
      },
    ]
    error_message = "the bucket's policy is another"
  }
}

run "overwrites_can_be_allowed" {
  command = plan
  variables {
    refuse_overwrites = false
  }

  assert {
    condition     = jsondecode(aws_s3_bucket_policy.store.policy).Statement[*].Sid == ["OnlyOverTls", "OnlyTls12OrNewer"]
    error_message = "the bucket's policy is another"
  }
}

run "a_broker_has_the_rights_that_it_uses_and_no_other" {
  command = plan

  assert {
    condition = jsondecode(aws_iam_policy.broker.policy).Statement == [
      {
        Sid      = "Objects", Effect = "Allow", Action = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
        Resource = "arn:aws:s3:::silt/*"
      },
      { Sid = "List", Effect = "Allow", Action = ["s3:ListBucket"], Resource = "arn:aws:s3:::silt" },
    ]
    error_message = "the broker's rights are others"
  }
  assert {
    condition     = jsondecode(one(aws_iam_role.broker).assume_role_policy).Statement[0].Principal == { Service = "ec2.amazonaws.com" }
    error_message = "somebody else than EC2 may take the role"
  }
  assert {
    condition     = output.siltstone_properties == "store.url=s3://silt/\nstore.s3.region=eu-central-1\n"
    error_message = "the lines for siltstone.properties are others: ${output.siltstone_properties}"
  }
}

run "with_a_prefix_a_broker_reaches_nothing_beside_it" {
  command = plan
  variables {
    prefix = "clusters/a"
  }

  assert {
    condition = jsondecode(aws_iam_policy.broker.policy).Statement == [
      {
        Sid      = "Objects", Effect = "Allow", Action = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
        Resource = "arn:aws:s3:::silt/clusters/a/*"
      },
      {
        Sid       = "List", Effect = "Allow", Action = ["s3:ListBucket"], Resource = "arn:aws:s3:::silt"
        Condition = { StringLike = { "s3:prefix" = "clusters/a/*" } }
      },
    ]
    error_message = "the broker's rights are others"
  }
  assert {
    condition     = strcontains(output.siltstone_properties, "store.url=s3://silt/clusters/a/\n")
    error_message = "the lines for siltstone.properties are others: ${output.siltstone_properties}"
  }
}

run "with_a_key_of_the_users_a_broker_may_use_it_for_this_bucket_only" {
  command = plan
  variables {
    kms = { key_arn = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab" }
  }

  assert {
    condition = jsondecode(aws_iam_policy.broker.policy).Statement[2] == {
      Sid      = "Key", Effect = "Allow", Action = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
      Condition = { StringEquals = {
        "kms:ViaService"                   = "s3.eu-central-1.amazonaws.com"
        "kms:EncryptionContext:aws:s3:arn" = "arn:aws:s3:::silt"
      } }
    }
    error_message = "the broker's rights on the key are others"
  }
  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.store.rule).bucket_key_enabled && length(aws_kms_key.store) == 0
    error_message = "every object would call KMS, or there is a second key"
  }
}

run "a_key_of_the_module_is_rotated" {
  command = plan
  variables {
    kms = {}
  }

  assert {
    condition     = one(aws_kms_key.store).enable_key_rotation && one(aws_kms_key.store).deletion_window_in_days == 30
    error_message = "the key is not rotated, or gone too soon"
  }
  assert {
    condition     = jsondecode(one(aws_kms_key.store).policy).Statement[*].Principal.AWS == ["arn:aws:iam::123456789012:root"]
    error_message = "somebody else than the account has rights on the key"
  }
}

run "a_role_may_be_brought" {
  command = plan
  variables {
    create_role = false
  }

  assert {
    condition     = length(aws_iam_role.broker) + length(aws_iam_instance_profile.broker) == 0
    error_message = "there is a role"
  }
}

run "somebody_else_than_ec2_may_take_the_role" {
  command = plan
  variables {
    assume_role_policy = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"Service\":\"pods.eks.amazonaws.com\"},\"Action\":[\"sts:AssumeRole\",\"sts:TagSession\"]}]}"
  }

  assert {
    condition     = jsondecode(one(aws_iam_role.broker).assume_role_policy).Statement[0].Principal.Service == "pods.eks.amazonaws.com"
    error_message = "the trust policy is another"
  }
  assert {
    condition     = length(aws_iam_instance_profile.broker) == 0
    error_message = "there is an instance profile that no instance can use"
  }
}

run "a_name_with_dots_is_refused" {
  command = plan
  variables {
    name = "silt.example"
  }
  expect_failures = [var.name]
}

run "a_name_that_aws_keeps_for_itself_is_refused" {
  command = plan
  variables {
    name = "silt--x-s3"
  }
  expect_failures = [var.name]
}

run "a_prefix_that_the_broker_refuses_is_refused" {
  command = plan
  variables {
    prefix = "clusters/../a"
  }
  expect_failures = [var.prefix]
}

run "a_prefix_with_a_slash_at_its_end_is_refused" {
  command = plan
  variables {
    prefix = "clusters/"
  }
  expect_failures = [var.prefix]
}

run "an_alias_of_a_key_is_refused" {
  command = plan
  variables {
    kms = { key_arn = "arn:aws:kms:eu-central-1:123456789012:alias/silt" }
  }
  expect_failures = [var.kms]
}

run "half_a_day_is_refused" {
  command = plan
  variables {
    undelete_days = 0.5
  }
  expect_failures = [var.undelete_days]
}

run "a_trust_policy_that_is_none_is_refused" {
  command = plan
  variables {
    assume_role_policy = "{}"
  }
  expect_failures = [var.assume_role_policy]
}
