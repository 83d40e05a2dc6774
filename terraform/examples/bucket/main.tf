# A bucket for one cluster, and a role for the EC2 instances that run its brokers.

terraform {
  required_version = ">= 1.7"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.80, < 7.0"
    }
  }
}

provider "aws" {
  region = var.region
}

variable "region" {
  description = "Region of the bucket: that of the brokers, or every byte is paid for once more."
  type        = string
  default     = "us-east-1"
}

variable "name" {
  description = "Name of the bucket; the whole world shares one list of them."
  type        = string
}

module "bucket" {
  source = "../../modules/bucket"

  name = var.name
  tags = { service = "siltstone" }
}

output "siltstone_properties" {
  description = "Lines for siltstone.properties."
  value       = module.bucket.siltstone_properties
}

output "instance_profile_name" {
  description = "For the brokers' instances."
  value       = module.bucket.instance_profile_name
}

output "role_arn" {
  description = "The role of the brokers."
  value       = module.bucket.role_arn
}
