//! Saved reports: what was measured, where and of what.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::siltstone;

/// What every report says of itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    /// When it began, in UTC, as RFC 3339 has it.
    pub(crate) date: String,
    /// The program's name and version.
    pub(crate) program: String,
    /// The commit that was checked out; empty where nobody knows.
    pub(crate) revision: String,
    pub(crate) machine: Machine,
}

impl Run {
    /// Of this program, here and now.
    pub(crate) fn of(program: &Path) -> Result<Self> {
        Ok(Self {
            date: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
            program: siltstone::version(program)?,
            revision: siltstone::revision(),
            machine: Machine::describe()?,
        })
    }

    /// In one sentence, for a page.
    pub(crate) fn sentence(&self) -> String {
        let Machine { cores, processor, memory_bytes, kernel, returns_free_pages } = &self.machine;
        let memory = (*memory_bytes as f64 / (1u64 << 30) as f64).round();
        let commit = if self.revision.is_empty() { String::new() } else { format!(" of commit {}", self.revision) };
        let pages = if *returns_free_pages { ", which returns free pages to its host" } else { "" };
        format!("{}, {}{commit}: {cores} cores ({processor}), {memory} GiB, Linux {kernel}{pages}.", self.date, self.program)
    }
}

/// Writes a report, whole or not at all.
pub(crate) fn save(path: &Path, report: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(report)? + "\n";
    let part = path.with_extension("part");
    fs::write(&part, text).with_context(|| format!("write {}", part.display()))?;
    fs::rename(&part, path).with_context(|| format!("write {}", path.display()))
}

pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("read {}: it is no report of this version", path.display()))
}
