//! Which page is made of which report.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::bench_page;
use crate::markdown::replace_between;
use crate::report;
use crate::store_page::{self, Prices};

const BEGIN: &str = "<!-- from here on made by tests/perf -->";
const END: &str = "<!-- to here -->";

/// The checkout that this program was built in.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where the report of this name is saved.
pub(crate) fn saved(name: &str) -> PathBuf {
    root().join("tests/perf/results").join(name).with_extension("json")
}

/// Every page: its path, what it says, and what it should say.
fn pages() -> Result<Vec<(PathBuf, String, String)>> {
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("read {}", path.display()));
    let docs = root().join("docs");
    let prices = Prices::of(&read(&docs.join("operations/costs.md"))?);
    let made = [
        (docs.join("operations/store.md"), store_page::render(&report::load(&saved("store"))?, &prices)?),
        (docs.join("performance.md"), bench_page::render(&report::load(&saved("bench"))?)),
    ];
    let pages = made.into_iter().map(|(path, made)| {
        let page = read(&path)?;
        let wanted = replace_between(&page, BEGIN, END, &made).with_context(|| path.display().to_string())?;
        Ok((path, page, wanted))
    });
    pages.collect()
}

/// Writes the pages anew.
pub(crate) fn write() -> Result<()> {
    for (path, page, wanted) in pages()? {
        if page != wanted {
            fs::write(&path, wanted).with_context(|| format!("write {}", path.display()))?;
        }
    }
    Ok(())
}

/// Fails where a page is not what its report says.
pub(crate) fn check() -> Result<()> {
    for (path, page, wanted) in pages()? {
        if page != wanted {
            bail!("{} is not what the saved reports say: tests/perf/run pages", path.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_pages_are_what_the_saved_reports_say() {
        super::check().unwrap();
    }
}
