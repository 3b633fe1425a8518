//! A dependency is somebody else's code that we ship: each has a reason, in one place.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ci::{Section, Source, dependencies, repository, root};

use crate::report;

#[test]
fn every_dependency_has_its_reason() {
    let mut findings = Vec::new();
    for path in manifests() {
        let manifest = fs::read_to_string(root().join(&path)).unwrap_or_else(|why| panic!("{path}: {why}"));
        for dependency in dependencies(&manifest) {
            let told_elsewhere = dependency.is_ours || dependency.is_inherited;
            if !told_elsewhere && dependency.reason.is_none() {
                findings.push(format!(
                    "{path}:{}: {} has no reason; say behind `#` what it is for",
                    dependency.line, dependency.name
                ));
            }
        }
    }
    report(findings);
}

/// Those of the workspace and of every crate in it.
fn manifests() -> BTreeSet<String> {
    let above = |source: &Source| {
        let dirs = Path::new(&source.path).ancestors().skip(1);
        dirs.map(|dir| dir.join("Cargo.toml").display().to_string()).collect::<Vec<String>>()
    };
    let is_there = |path: &String| root().join(path).exists();
    repository().iter().flat_map(above).filter(is_there).collect()
}

#[test]
fn crates_within_crates_are_found() {
    let found = manifests();
    for path in ["Cargo.toml", "broker/Cargo.toml", "ci/Cargo.toml", "ci/kafka/rdkafka/Cargo.toml"] {
        assert!(found.contains(path), "BUG: {path} is not checked");
    }
}

#[test]
fn the_workspace_table_is_read() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the root has a manifest");
    let table =
        dependencies(&manifest).into_iter().filter(|dependency| dependency.section == Section::Workspace);
    assert!(10 < table.count(), "BUG: the check reads nothing");
}
