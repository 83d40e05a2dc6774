variable "name" {
  description = "Name of the bucket: 3 to 63 lower-case letters, digits and '-'. No dots: the certificate of S3 does not cover them."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.name))
    error_message = "name must have 3 to 63 lower-case letters, digits and '-', and begin and end with a letter or digit."
  }

  validation {
    condition     = !can(regex("^(xn--|sthree-|amzn-s3-demo-)|(-s3alias|--ol-s3|--x-s3|--table-s3)$", var.name))
    error_message = "name must not begin or end with what AWS keeps for itself, such as xn-- or -s3alias."
  }
}

variable "prefix" {
  description = <<-EOT
    Where in the bucket the cluster's objects are, without a slash at the end; empty for the whole bucket.
    The role reaches nothing else.
  EOT
  type        = string
  default     = ""

  validation {
    condition     = alltrue([for part in split("/", var.prefix) : can(regex("^[A-Za-z0-9_-][A-Za-z0-9._-]*$", part))]) || var.prefix == ""
    error_message = "prefix must be parts of letters, digits, '-', '_' and '.', joined by '/'; no part is empty or begins with a dot."
  }
}

variable "kms" {
  description = <<-EOT
    Null: S3 keeps the keys (SSE-S3). An object: KMS does (SSE-KMS), with the key key_arn, or one that the module makes.
    Then each use is in CloudTrail, and whoever loses the key loses the data.
    A key of yours must let IAM of its account give rights on it.
  EOT
  type        = object({ key_arn = optional(string) })
  default     = null

  validation {
    condition     = try(var.kms.key_arn, null) == null || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[^/]+$", var.kms.key_arn))
    error_message = "kms.key_arn must be the ARN of a key, arn:aws:kms:REGION:ACCOUNT:key/ID; an alias will not do."
  }
}

variable "undelete_days" {
  description = "For so many days deleted objects can be brought back, and are paid for: turns versioning on. 0: off."
  type        = number
  default     = 0

  validation {
    condition     = 0 <= var.undelete_days && var.undelete_days <= 3650 && floor(var.undelete_days) == var.undelete_days
    error_message = "undelete_days must be a whole number from 0 to 3650."
  }
}

variable "refuse_overwrites" {
  description = <<-EOT
    Lets nobody put an object where one is already, and nobody copy objects into the bucket:
    the store's own lock on what brokers never do.
  EOT
  type        = bool
  default     = true
}

variable "request_metrics" {
  description = "CloudWatch's request metrics of the bucket, which cost extra. Brokers count their own requests in any case."
  type        = bool
  default     = false
}

variable "create_role" {
  description = "Makes an IAM role for brokers. False: attach policy_arn to a role of yours."
  type        = bool
  default     = true
}

variable "assume_role_policy" {
  description = <<-EOT
    JSON: who may take the role. Null: EC2 instances, and an instance profile is made for them.
    For EKS the trust policy of a service account.
  EOT
  type        = string
  default     = null

  validation {
    condition     = var.assume_role_policy == null || can(jsondecode(var.assume_role_policy).Statement)
    error_message = "assume_role_policy must be a trust policy in JSON, with a Statement."
  }
}

variable "tags" {
  description = "Tags of everything that can have tags."
  type        = map(string)
  default     = {}
}
