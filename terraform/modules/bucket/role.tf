# What a broker may do: the calls that it makes, on its prefix, and no other.

locals {
  for_ec2 = var.create_role && var.assume_role_policy == null

  broker_policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        # HEAD is GetObject too.
        Sid      = "Objects"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
        Resource = "${local.bucket_arn}/${local.folder}*"
      },
      merge(
        {
          # Also what makes an object that is not there answer 404 instead of 403.
          Sid      = "List"
          Effect   = "Allow"
          Action   = ["s3:ListBucket"]
          Resource = local.bucket_arn
        },
        # Terraform wants both sides to be of one type. Without a prefix a listing names none, so there is nothing to compare.
        { for key, value in { Condition = { StringLike = { "s3:prefix" = "${local.folder}*" } } } : key => value if local.folder != "" },
      ),
      ], var.kms != null ? [
      {
        Sid      = "Key"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = local.kms_key_arn
        Condition = {
          StringEquals = {
            "kms:ViaService"                   = "s3.${data.aws_region.current.id}.${data.aws_partition.current.dns_suffix}"
            "kms:EncryptionContext:aws:s3:arn" = local.bucket_arn
          }
        }
      },
    ] : [])
  })
}

# A prefix of a name, not a name: a bucket's may be as long as a role's.
resource "aws_iam_policy" "broker" {
  name_prefix = "siltstone-broker-"
  description = "What a Siltstone broker may do with the bucket ${var.name}"
  policy      = local.broker_policy
  tags        = var.tags
}

resource "aws_iam_role" "broker" {
  count       = var.create_role ? 1 : 0
  name_prefix = "siltstone-broker-"
  description = "Siltstone brokers on the bucket ${var.name}"
  tags        = var.tags

  assume_role_policy = local.for_ec2 ? jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ec2.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  }) : var.assume_role_policy
}

resource "aws_iam_role_policy_attachment" "broker" {
  count      = var.create_role ? 1 : 0
  role       = aws_iam_role.broker[0].name
  policy_arn = aws_iam_policy.broker.arn
}

resource "aws_iam_instance_profile" "broker" {
  count       = local.for_ec2 ? 1 : 0
  name_prefix = "siltstone-broker-"
  role        = aws_iam_role.broker[0].name
  tags        = var.tags
}
