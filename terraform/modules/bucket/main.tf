# The bucket of one cluster.
#
# Nothing here deletes data, neither by Terraform nor by a rule: an object is deleted by the broker alone, once no metadata refers to it.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  bucket_arn = "arn:${data.aws_partition.current.partition}:s3:::${var.name}"
  folder     = var.prefix == "" ? "" : "${var.prefix}/"
}

# checkov:skip=CKV_AWS_18: access logs cost a PUT for every few requests; brokers count and CloudTrail's data events name who asked
# checkov:skip=CKV_AWS_21: see undelete_days; keys are never used twice, so there are no older versions to go back to
# checkov:skip=CKV_AWS_144: a second copy in another region doubles the price; it is the user's to choose
# checkov:skip=CKV_AWS_145: SSE-S3 encrypts; with KMS a key can be lost or forbidden, so it is the user's to choose
# checkov:skip=CKV2_AWS_62: nobody listens to events of single objects
resource "aws_s3_bucket" "store" {
  bucket = var.name
  tags   = var.tags

  # A bucket that holds anything is not deleted, whatever was asked of Terraform.
  force_destroy = false

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_ownership_controls" "store" {
  bucket = aws_s3_bucket.store.bucket

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "store" {
  bucket = aws_s3_bucket.store.bucket

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "store" {
  bucket = aws_s3_bucket.store.bucket

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms != null ? "aws:kms" : "AES256"
      kms_master_key_id = local.kms_key_arn
    }

    # One call to KMS for many objects, not one for each.
    bucket_key_enabled = var.kms != null
  }
}

# Off, a bucket has no versions: a deleted object is gone, and its bytes are no longer paid for. A broker deletes what it has rewritten, so
# with versions the same records are paid for twice, for as long as old versions are kept.
resource "aws_s3_bucket_versioning" "store" {
  count  = var.undelete_days == 0 ? 0 : 1
  bucket = aws_s3_bucket.store.bucket

  versioning_configuration {
    status = "Enabled"
  }
}

# Rules may only remove what no metadata can refer to. An expiration by age would take live segments.
resource "aws_s3_bucket_lifecycle_configuration" "store" {
  bucket = aws_s3_bucket.store.bucket

  rule {
    id     = "abort-incomplete-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  dynamic "rule" {
    for_each = var.undelete_days == 0 ? [] : [var.undelete_days]

    content {
      id     = "drop-deleted-versions"
      status = "Enabled"

      filter {}

      noncurrent_version_expiration {
        noncurrent_days = rule.value
      }

      # The mark that is left of a deleted object when its last version is gone.
      expiration {
        expired_object_delete_marker = true
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.store]
}

resource "aws_s3_bucket_metric" "store" {
  count  = var.request_metrics ? 1 : 0
  bucket = aws_s3_bucket.store.bucket
  name   = "EntireBucket"
}

resource "aws_s3_bucket_policy" "store" {
  bucket = aws_s3_bucket.store.bucket
  policy = local.bucket_policy

  # Until public policies are refused, a mistake in a policy could let everybody in.
  depends_on = [aws_s3_bucket_public_access_block.store]
}

locals {
  bucket_policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid       = "OnlyOverTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [local.bucket_arn, "${local.bucket_arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        Sid       = "OnlyTls12OrNewer"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [local.bucket_arn, "${local.bucket_arn}/*"]
        Condition = { NumericLessThan = { "s3:TlsVersion" = "1.2" } }
      },
      ], var.refuse_overwrites ? [
      {
        # Objects never change. The parts of a multipart upload carry no condition; its completion does.
        Sid       = "OnlyWhereNothingIs"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:PutObject"
        Resource  = "${local.bucket_arn}/${local.folder}*"
        Condition = {
          Null = { "s3:if-none-match" = "true" }
          Bool = { "s3:ObjectCreationOperation" = "true" }
        }
      },
    ] : [])
  })
}
