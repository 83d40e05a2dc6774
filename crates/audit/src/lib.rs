//! Objects held against what metadata says of them.
//!
//! [`ObjectReader`] reads one object and says what is wrong with the segments that metadata has in it; [`examine`] makes sure that it is
//! so before anybody is alarmed. `siltstone store check` does that for all objects at once, an [`Auditor`] for one after the other, in the
//! background of a broker.

mod examine;
mod object;
mod problem;

mod auditor;
mod register;
mod share;
mod status;
mod sweep;

pub use auditor::{AuditDeps, AuditOptions, Auditor, REQUEST_BYTES};
pub use examine::{ExamineError, examine, is_referenced};
pub use object::{ObjectReader, Pace, shortest_object};
pub use problem::{Problem, ProblemKind, Reference};
pub use status::{AuditHandle, AuditStatus};
