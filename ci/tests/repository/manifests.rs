//! A dependency is somebody else's code that we ship: each has a reason, in one place.

use std::fs;

use ci::{Section, dependencies, repository, root};

use crate::report;

#[test]
fn every_dependency_has_its_reason() {
    let mut findings = Vec::new();
    let sources = repository();
    let mut crates: Vec<&str> = sources.iter().map(|source| source.krate()).collect();
    crates.dedup();
    let manifests = crates.iter().map(|krate| format!("{krate}/Cargo.toml")).chain(["Cargo.toml".to_owned()]);
    for path in manifests {
        let Ok(manifest) = fs::read_to_string(root().join(&path)) else { continue };
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

#[test]
fn the_workspace_table_is_read() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the root has a manifest");
    let table =
        dependencies(&manifest).into_iter().filter(|dependency| dependency.section == Section::Workspace);
    assert!(10 < table.count(), "BUG: the check reads nothing");
}
