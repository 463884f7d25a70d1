//! Holds the boundaries that README.md states: which package may use which, which folder may name which crate, what
//! every file must have. A failure names the file and the rule.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Folders with Rust sources.
const SOURCES: &[&str] = &["src", "pipelines", "operators", "tpch", "tests", "benches"];

/// Names that say nothing about what is inside.
const DRAWERS: &[&str] = &["utils", "util", "helpers", "helper", "common", "misc"];

/// A crate may be named only below these paths.
const CRATES: &[(&str, &[&str])] = &[
    ("rayon", &["pipelines/"]),
    ("crossbeam", &["pipelines/"]),
    ("tokio", &["src/", "tests/", "benches/"]),
    ("pgwire", &["src/server/pgwire/"]),
    ("sqlparser", &["src/sql/", "src/session/", "tests/"]),
    ("parquet", &["src/connectors/parquet/", "src/cli/tpch_gen.rs", "tests/", "benches/"]),
    ("axum", &["src/server/"]),
    ("arrow_flight", &["src/cluster/", "tests/cluster/"]),
    ("tonic", &["src/cluster/", "tests/cluster/"]),
];

/// Which workspace packages a package may depend on.
const PACKAGES: &[(&str, &[&str])] =
    &[("pipelines", &[]), ("operators", &["pipelines"]), ("tpch", &[]), ("arneb", &["operators", "pipelines", "tpch"])];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files() -> Vec<PathBuf> {
    let mut files = vec![];
    let mut folders: Vec<PathBuf> = SOURCES.iter().map(|folder| root().join(folder)).filter(|path| path.is_dir()).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(files.len() > 50, "the sources were not found");
    files
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().into_owned()
}

fn assert_none(rule: &str, violations: Vec<String>) {
    assert!(violations.is_empty(), "{rule}:\n  {}", violations.join("\n  "));
}

#[test]
fn every_file_says_what_it_does() {
    let silent = rust_files().into_iter().filter(|file| !fs::read_to_string(file).unwrap().starts_with("//!"));
    assert_none("a file opens with //! and what it does", silent.map(|file| relative(&file)).collect());
}

#[test]
fn no_file_is_a_drawer() {
    let drawers = rust_files().into_iter().map(|file| relative(&file));
    let drawers = drawers.filter(|file| file.trim_end_matches(".rs").split('/').any(|part| DRAWERS.contains(&part)));
    assert_none("a file or folder is named by its concept", drawers.collect());
}

#[test]
fn no_file_grows_without_end() {
    let long = rust_files().into_iter().filter_map(|file| {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        (lines > 1200).then(|| format!("{}: {lines} lines", relative(&file)))
    });
    assert_none("a file holds one concept, in at most 1200 lines", long.collect());
}

#[test]
fn nothing_is_left_to_do() {
    // Put together here so that this file does not find itself.
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["todo", "!("].concat(), ["unimplemented", "!("].concat()];
    let mut found = vec![];
    for file in rust_files() {
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                found.push(format!("{}:{}", relative(&file), number + 1));
            }
        }
    }
    assert_none("no left-overs", found);
}

#[test]
fn crates_are_named_only_where_they_belong() {
    let mut violations = vec![];
    for file in rust_files() {
        let path = relative(&file);
        let text = fs::read_to_string(&file).unwrap();
        for (name, allowed) in CRATES {
            if allowed.iter().any(|prefix| path.starts_with(prefix)) {
                continue;
            }
            let mention = |line: &str| {
                let code = line.split("//").next().unwrap_or_default();
                code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
                    .any(|word| word.strip_prefix(name).is_some_and(|rest| rest.starts_with("::")))
            };
            if let Some(number) = text.lines().position(mention) {
                violations.push(format!("{path}:{} names {name}, which belongs below {}", number + 1, allowed.join(" or ")));
            }
        }
    }
    assert_none("a crate is named only where it belongs", violations);
}

#[test]
fn packages_depend_in_one_direction() {
    let manifests = BTreeMap::from([
        ("arneb", "Cargo.toml"),
        ("pipelines", "pipelines/Cargo.toml"),
        ("operators", "operators/Cargo.toml"),
        ("tpch", "tpch/Cargo.toml"),
    ]);
    for (package, allowed) in PACKAGES {
        let text = fs::read_to_string(root().join(manifests[package])).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        let dependencies: BTreeSet<&str> = manifest["dependencies"].as_table().unwrap().keys().map(String::as_str).collect();
        for other in manifests.keys().filter(|other| *other != package) {
            let depends = dependencies.contains(other);
            assert!(!depends || allowed.contains(other), "{package} must not depend on {other}");
        }
        if *package != "arneb" {
            assert!(!dependencies.contains("tokio"), "{package} must not know tokio: async stops at the door");
        }
    }
}

#[test]
fn every_package_explains_itself() {
    for readme in ["README.md", "pipelines/README.md", "operators/README.md", "tpch/README.md"] {
        let text = fs::read_to_string(root().join(readme)).unwrap_or_default();
        assert!(text.lines().count() > 10, "{readme} is missing or says nothing");
    }
}
