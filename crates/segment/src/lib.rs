//! The segment object: one immutable object in the store that holds the segments of many partitions and describes itself, so that
//! metadata can be rebuilt from the bucket alone. Byte by byte it is described in `docs/formats-object.md`.
//!
//! ```text
//! [head][data][index][data][index]…[footer sections][trailer]
//!        ^ one segment  ^ another
//! ```
//!
//! Building gathers slices and copies no batch; reading works on byte ranges that somebody else fetched.

mod build;
mod contents;
mod error;
mod footer;
mod index;
mod summary;
mod trailer;
mod verify;
mod wire;

pub use build::{BuildError, BuiltObject, ObjectBuilder, SegmentInput};
pub use contents::{ObjectContents, ObjectHeader, ProducerState, RefusedPublish, SegmentEntry, data_range, index_range};
pub use error::ObjectError;
pub use index::{Index, IndexEntry};
pub use summary::{INDEX_INTERVAL_BYTES, LayoutFault};
pub use trailer::{HEAD_BYTES, TRAILER_BYTES, Trailer, check_head};
pub use verify::{SegmentVerifier, contents, verify};
