output "bucket" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.store.bucket
}

output "bucket_arn" {
  description = "ARN of the bucket."
  value       = aws_s3_bucket.store.arn
}

output "siltstone_properties" {
  description = "The lines of siltstone.properties that put a broker's store here."
  value       = <<-EOT
    store.url=s3://${aws_s3_bucket.store.bucket}/${local.folder}
    store.s3.region=${data.aws_region.current.id}
  EOT
}

output "policy_arn" {
  description = "ARN of the policy with a broker's rights, for a role of yours."
  value       = aws_iam_policy.broker.arn
}

output "role_arn" {
  description = "ARN of the brokers' role; null without one."
  value       = one(aws_iam_role.broker[*].arn)
}

output "role_name" {
  description = "Name of the brokers' role; null without one."
  value       = one(aws_iam_role.broker[*].name)
}

output "instance_profile_name" {
  description = "Name of the instance profile with the role, for EC2; null without one."
  value       = one(aws_iam_instance_profile.broker[*].name)
}

output "kms_key_arn" {
  description = "ARN of the key; null where S3 keeps the keys."
  value       = local.kms_key_arn
}
