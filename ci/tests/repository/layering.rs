//! Who may know whom.
//!
//!     protocol ◀── storage ◀─┐
//!        ▲  ▲── kafka  ◀──── broker ◀── cli, bench
//!        └───── client ◀────────────────┘             arrows: "is known by"; ci knows nobody
//!
//! Read from `use` lines and from paths in the code, tests inside of `src` included: what a module's
//! tests need to know, the module is coupled to.

use ci::{PathUse, Section, Source, dependencies, paths, repository, root};

use crate::report;

/// Files below `within` (except those below one of `but`) name nothing below one of `never`.
struct Rule {
    within: &'static str,
    but: &'static [&'static str],
    never: &'static [&'static str],
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        within: "protocol/src",
        but: &[],
        never: &["storage", "kafka", "broker", "ringlog_client"],
        why: "protocol is the bottom: bytes in, types out",
    },
    Rule {
        within: "storage/src",
        but: &[],
        never: &["broker", "ringlog_client", "kafka", "protocol::frame", "protocol::api"],
        why: "storage keeps batches, it does not know who sends or reads them",
    },
    Rule {
        within: "kafka/src",
        but: &[],
        never: &["storage", "broker", "ringlog_client", "protocol::frame", "protocol::api"],
        why: "kafka is the other wire; it maps onto the same handlers in broker/",
    },
    Rule {
        within: "broker/src",
        but: &[],
        never: &["ringlog_client"],
        why: "the broker does not talk to itself",
    },
    Rule {
        within: "broker/src/connection",
        but: &[],
        never: &["storage", "broker::shard::partition", "broker::shard::partitions"],
        why: "a connection moves frames; only handlers know what is in them",
    },
    Rule {
        within: "broker/src/handlers",
        but: &[],
        never: &["glommio", "storage::disk", "storage::segment"],
        why: "a handler decides; drivers own sockets and files",
    },
    Rule {
        within: "",
        but: &["broker/src/runtime", "storage/src/disk/uring.rs"],
        never: &["glommio"],
        why: "glommio stays at the edge, so that another runtime is a week's work (D14)",
    },
    Rule {
        within: "",
        but: &["kafka/src/cold", "kafka/src/api.rs", "kafka/src/error.rs", "kafka/tests", "broker/tests"],
        never: &["kafka_protocol"],
        why: "it trusts counts; nothing reaches it but through the scan of kafka::cold",
    },
    Rule {
        within: "client/src",
        but: &[],
        never: &["storage", "kafka", "broker"],
        why: "users build the client without the broker",
    },
    Rule {
        within: "bench/src",
        but: &["bench/src/embedded.rs"],
        never: &["broker", "storage", "kafka"],
        why: "bench measures from outside; embedded.rs alone starts a broker",
    },
    Rule {
        within: "cli/src",
        but: &[],
        never: &["storage", "kafka"],
        why: "the command line uses the broker and the client, not their insides",
    },
    Rule {
        within: "ci",
        but: &[],
        never: &["protocol", "storage", "kafka", "broker", "ringlog_client"],
        why: "the checks must build when nothing else does",
    },
];

/// What a crate's manifest may name of ours. Tests may name more (`[dev-dependencies]`).
const DEPENDENCIES: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("storage", &["protocol"]),
    ("kafka", &["protocol"]),
    ("broker", &["protocol", "storage", "kafka"]),
    ("client", &["protocol"]),
    ("cli", &["protocol", "broker", "ringlog-client"]),
    ("bench", &["broker", "ringlog-client"]),
    ("ci", &[]),
    ("ci/kafka/rdkafka", &[]),
    ("fuzz", &["protocol", "storage", "kafka"]),
];

#[test]
fn modules_name_only_what_is_below_them() {
    let sources = repository();
    let findings = sources.iter().flat_map(|source| {
        let paths = paths(source);
        RULES.iter().filter(|rule| rule.covers(source)).flat_map(move |rule| rule.findings(source, &paths))
    });
    report(findings.collect());
}

#[test]
fn manifests_name_only_what_is_below_them() {
    let ours: Vec<&str> = DEPENDENCIES.iter().flat_map(|(_, may)| *may).copied().collect();
    let mut findings = Vec::new();
    for (krate, may) in DEPENDENCIES {
        let path = format!("{krate}/Cargo.toml");
        // Crates that are planned have no manifest yet.
        let Ok(manifest) = std::fs::read_to_string(root().join(&path)) else { continue };
        let named =
            dependencies(&manifest).into_iter().filter(|dependency| dependency.section != Section::Dev);
        for dependency in named.filter(|dependency| ours.contains(&dependency.name.as_str())) {
            if !may.contains(&dependency.name.as_str()) {
                findings.push(format!(
                    "{path}:{}: {krate} must not depend on {}",
                    dependency.line, dependency.name
                ));
            }
        }
    }
    report(findings);
}

#[test]
fn a_rule_finds_what_it_forbids() {
    let broken = Source::new("storage/src/log/mod.rs", "use protocol::{model::Offset, frame::FrameHeader};");
    let paths = paths(&broken);
    let findings: Vec<String> = RULES
        .iter()
        .filter(|rule| rule.covers(&broken))
        .flat_map(|rule| rule.findings(&broken, &paths))
        .collect();
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert!(finding.starts_with("storage/src/log/mod.rs:1: names protocol::frame::FrameHeader"), "{finding}");
}

impl Rule {
    fn covers(&self, source: &Source) -> bool {
        is_below(&source.path, self.within, '/')
            && !self.but.iter().any(|but| is_below(&source.path, but, '/'))
    }

    fn findings(&self, source: &Source, paths: &[PathUse]) -> Vec<String> {
        let forbidden = |path: &&PathUse| self.never.iter().any(|never| is_below(&path.path, never, ':'));
        let found = paths.iter().filter(forbidden);
        found
            .map(|PathUse { path, line }| format!("{}:{line}: names {path}; {}", source.path, self.why))
            .collect()
    }
}

/// Whether `path` is `above` or goes on behind it with a separator.
fn is_below(path: &str, above: &str, separator: char) -> bool {
    let behind = path.strip_prefix(above);
    above.is_empty() || behind.is_some_and(|rest| rest.is_empty() || rest.starts_with(separator))
}
