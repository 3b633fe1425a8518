//! The dependency lines of a Cargo.toml: enough of TOML for how ours are written, a line each.

/// One line below a dependency heading.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dependency {
    pub section: Section,
    pub name: String,
    /// Counted from 1.
    pub line: usize,
    /// What stands behind `#`.
    pub reason: Option<String>,
    /// Whether it is a crate of this repository.
    pub is_ours: bool,
    /// Whether the workspace's table says the rest.
    pub is_inherited: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Section {
    Workspace,
    Normal,
    Dev,
    Build,
}

pub fn dependencies(manifest: &str) -> Vec<Dependency> {
    let mut section = None;
    let mut found = Vec::new();
    for (i, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            section = match line.trim() {
                "[workspace.dependencies]" => Some(Section::Workspace),
                "[dependencies]" => Some(Section::Normal),
                "[dev-dependencies]" => Some(Section::Dev),
                "[build-dependencies]" => Some(Section::Build),
                _ => None,
            };
            continue;
        }
        let (said, reason) = match line.split_once('#') {
            Some((said, reason)) => {
                (said, Some(reason.trim().to_owned()).filter(|reason| !reason.is_empty()))
            }
            None => (line, None),
        };
        if let (Some(section), Some((name, value))) = (section, said.split_once('=')) {
            // `bytes.workspace = true`
            let name = name.split('.').next().unwrap_or_default().trim().to_owned();
            let is_inherited = said.replace(' ', "").contains("workspace=true");
            let is_ours = value.contains("path =");
            found.push(Dependency { section, name, line: i + 1, reason, is_ours, is_inherited });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_reasons_and_where_they_come_from() {
        let manifest = "[package]\nname = \"x\"\n\n[dependencies]\na = \"1\"  # because\nb.workspace = true\n\
                        c = { path = \"../c\" }\n[dev-dependencies]\nd = \"1\" #\n";
        let found = dependencies(manifest);
        let summary: Vec<_> = found
            .iter()
            .map(|dep| {
                (
                    dep.name.as_str(),
                    dep.section,
                    dep.line,
                    dep.reason.as_deref(),
                    dep.is_ours,
                    dep.is_inherited,
                )
            })
            .collect();
        assert_eq!(
            summary,
            [
                ("a", Section::Normal, 5, Some("because"), false, false),
                ("b", Section::Normal, 6, None, false, true),
                ("c", Section::Normal, 7, None, true, false),
                ("d", Section::Dev, 9, None, false, false),
            ]
        );
    }
}
