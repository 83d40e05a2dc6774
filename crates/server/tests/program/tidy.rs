//! Holds the workspace to what `docs/architecture.md` promises: arrows between crates, who may use RocksDB and the object store
//! client, licences of dependencies, and files that stay readable.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// Every arrow between our crates, dev-dependencies apart.
const ARROWS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("runtime", &[]),
    ("records", &["types"]),
    ("protocol", &["records", "types"]),
    ("wal", &["runtime", "types"]),
    ("segment", &["records", "types"]),
    ("store", &["runtime", "types"]),
    ("s3-server", &[]),
    ("metadata-api", &["runtime", "types"]),
    ("metadata-service", &["metadata-api", "runtime", "store", "types"]),
    ("partition", &["metadata-api", "records", "runtime", "segment", "store", "types", "wal"]),
    ("offload", &["metadata-api", "records", "runtime", "segment", "store", "types", "wal"]),
    ("audit", &["metadata-api", "runtime", "segment", "store", "types"]),
    ("group", &["types"]),
    ("client", &["protocol", "records", "runtime", "types"]),
    ("broker", &["group", "metadata-api", "partition", "protocol", "records", "runtime", "types"]),
];

/// Who may name these in a manifest.
const RESERVED: &[(&str, &[&str])] = &[
    ("rocksdb", &["metadata-service", "wal"]),
    ("object_store", &["store"]),
    ("aws-config", &["store"]),
    ("kafka-protocol", &["broker", "client", "protocol"]),
];

/// Licences that may be linked into an Apache-2.0 program; every dependency offers one of them.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "MIT",
    "MIT-0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "Unlicense",
    "0BSD",
    "CC0-1.0",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "OpenSSL",
    "Apache-2.0 WITH LLVM-exception",
    "bzip2-1.0.6",
];

/// Lines after which a file has more than one subject.
const LONGEST_FILE: usize = 700;

/// Files that are longer all the same. The list may only shrink.
const LONG_FILES: &[&str] = &[];

fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path("../../Cargo.toml").other_options(vec!["--locked".to_owned()]).exec().unwrap()
}

#[test]
fn arrows_between_crates_are_those_of_the_architecture() {
    let metadata = metadata();
    let ours: BTreeSet<_> = metadata.workspace_packages().iter().map(|package| package.name.to_string()).collect();
    let allowed: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    for package in metadata.workspace_packages() {
        if package.name.as_str() == "server" {
            continue;
        }
        let allowed = allowed.get(package.name.as_str()).unwrap_or_else(|| panic!("{} stands in no table", package.name));
        for dependency in &package.dependencies {
            if dependency.kind != DependencyKind::Development && ours.contains(&dependency.name) {
                assert!(allowed.contains(&dependency.name.as_str()), "{} must not depend on {}", package.name, dependency.name);
            }
        }
    }
}

#[test]
fn the_s3_of_the_tests_is_in_no_program() {
    for package in metadata().workspace_packages() {
        let shipped = package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
        assert!(shipped.into_iter().all(|dependency| dependency.name != "s3-server"), "{} must not depend on s3-server", package.name);
    }
}

#[test]
fn storage_engines_and_wire_types_appear_only_where_they_belong() {
    for package in metadata().workspace_packages() {
        for dependency in &package.dependencies {
            if let Some((_, owners)) = RESERVED.iter().find(|(name, _)| *name == dependency.name) {
                assert!(owners.contains(&package.name.as_str()), "{} must not depend on {}", package.name, dependency.name);
            }
        }
    }
}

#[test]
fn every_dependency_has_a_licence_that_fits() {
    let metadata = metadata();
    for package in &metadata.packages {
        let licence = package.license.as_deref().unwrap_or_default().replace('/', " OR ");
        let fits = licence.split(" OR ").any(|choice| {
            choice.trim_matches(['(', ')', ' ']).split(" AND ").all(|part| LICENCES.contains(&part.trim_matches(['(', ')', ' '])))
        });
        let all_parts_fit = licence
            .split([' ', '(', ')'])
            .filter(|word| !matches!(*word, "" | "OR" | "AND" | "WITH" | "LLVM-exception"))
            .all(|word| LICENCES.contains(&word));
        assert!(fits || all_parts_fit, "{} has licence {licence:?}", package.name);
    }
}

#[test]
fn files_that_were_short_stay_short() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut long = Vec::new();
    visit(crates, &mut |path| {
        let lines = fs::read_to_string(path).unwrap().lines().count();
        let name = path.strip_prefix(crates).unwrap().display().to_string();
        if LONGEST_FILE < lines && !LONG_FILES.contains(&name.as_str()) {
            long.push(format!("{name}: {lines} lines"));
        }
    });
    assert!(long.is_empty(), "split these by subject: {long:#?}");
    for name in LONG_FILES {
        let lines = fs::read_to_string(crates.join(name)).unwrap().lines().count();
        assert!(LONGEST_FILE < lines, "{name} is short now: take it off the list");
    }
}

#[test]
fn nothing_unfinished_is_left_in_the_code() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let marks = [concat!("FIX", "ME"), concat!("todo", "!("), concat!("unimpl", "emented!("), concat!("#[ign", "ore]")];
    visit(crates, &mut |path| {
        let text = fs::read_to_string(path).unwrap();
        for mark in marks {
            assert!(!text.contains(mark), "{} holds {mark}", path.display());
        }
    });
}

/// Calls `f` for every Rust file below `folder`.
fn visit(folder: &Path, f: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, f);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            f(&path);
        }
    }
}
