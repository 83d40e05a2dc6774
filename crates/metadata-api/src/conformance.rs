//! What every [`crate::MetadataClient`] must do.
