# The key, where the user wants KMS and brings none.

locals {
  own_key     = var.kms != null && try(var.kms.key_arn, null) == null
  kms_key_arn = local.own_key ? one(aws_kms_key.store[*].arn) : try(var.kms.key_arn, null)
}

resource "aws_kms_key" "store" {
  count                   = local.own_key ? 1 : 0
  description             = "Objects of the bucket ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = local.key_policy
  tags                    = var.tags

  lifecycle {
    prevent_destroy = true # without the key every object is lost
  }
}

resource "aws_kms_alias" "store" {
  count         = local.own_key ? 1 : 0
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.store[0].key_id
}

locals {
  # Rights on the key are given by IAM. Without this statement nobody could change the key any more.
  key_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "RightsAreGivenByIam"
      Effect    = "Allow"
      Principal = { AWS = "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root" }
      Action    = "kms:*"
      Resource  = "*"
    }]
  })
}
