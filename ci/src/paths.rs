//! The paths that a file names: those of its `use` lines, unfolded, and those written in place.
//!
//!     use protocol::{api, model::Offset as O};   ─▶ protocol::api, protocol::model::Offset
//!     let x = storage::disk::open();             ─▶ storage::disk::open
//!
//! `crate`, `self` and `super` become the crate's directory and the module's own path, so that a rule
//! need not know from where it is broken: in broker/src/shard/mod.rs `super::config` is
//! `broker::config`.

use crate::source::Source;

/// A path, and where it is named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathUse {
    pub path: String,
    /// Counted from 1.
    pub line: usize,
}

pub fn paths(source: &Source) -> Vec<PathUse> {
    let module = module_of(&source.path);
    let tokens = tokens(&source.code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let start = at;
        let mut names = Vec::new();
        // `impl Trait + use<'a>` imports nothing.
        if tokens[at].text == "use" && tokens.get(at + 1).is_some_and(|next| next.text != "<") {
            at = use_tree(&tokens, at + 1, &[], &mut names);
        } else if tokens[at].is_name() {
            let (path, end) = simple_path(&tokens, at);
            at = end;
            // One word alone is a variable or a keyword; crates show in front of a `::`.
            if 1 < path.len() {
                names.push(path);
            }
        } else {
            at += 1;
        }
        if names.is_empty() {
            continue;
        }
        let line = source.line_of(tokens[start].byte);
        found.extend(names.into_iter().map(|names| PathUse { path: absolute(&module, names), line }));
    }
    found
}

/// `broker/src/shard/mod.rs` is broker::shard, `broker/src/lib.rs` is broker.
fn module_of(path: &str) -> Vec<String> {
    let mut parts: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
    parts.retain(|part| *part != "src");
    if matches!(parts.last(), Some(&("mod" | "lib" | "main"))) {
        parts.pop();
    }
    parts.into_iter().map(str::to_owned).collect()
}

fn absolute(module: &[String], names: Vec<String>) -> String {
    let up = names.iter().take_while(|name| *name == "super").count();
    let below =
        |depth: usize, rest: &[String]| [&module[..depth.min(module.len())], rest].concat().join("::");
    match names.first().map(String::as_str) {
        Some("crate") => below(1, &names[1..]),
        Some("self") => below(module.len(), &names[1..]),
        Some("super") => below(module.len().saturating_sub(up), &names[up..]),
        _ => names.join("::"),
    }
}

/// `a::b::c` from `at` on, and where it ends.
fn simple_path(tokens: &[Token<'_>], mut at: usize) -> (Vec<String>, usize) {
    let mut path = vec![tokens[at].text.to_owned()];
    at += 1;
    while let (Some(colons), Some(name)) = (tokens.get(at), tokens.get(at + 1)) {
        if colons.text != "::" || !name.is_name() {
            break;
        }
        path.push(name.text.to_owned());
        at += 2;
    }
    (path, at)
}

/// What a `use` names below `prefix`; ends behind the tree, before `,`, `}` or `;`.
fn use_tree(tokens: &[Token<'_>], mut at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token.text {
            "::" => {}
            "{" => {
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    // Over the comma, if there is one; over anything else too, so that this ends.
                    at = use_tree(tokens, at, &path, found).max(at + 1);
                    at += usize::from(tokens.get(at).is_some_and(|token| token.text == ","));
                }
                return at + 1;
            }
            // The new name is of no interest, but must not be taken for more of the path.
            "as" => at += 1,
            "," | ";" | "}" => {
                at -= 1;
                break;
            }
            name => path.push(name.to_owned()),
        }
    }
    found.push(path);
    at
}

struct Token<'a> {
    text: &'a str,
    byte: usize,
}

impl Token<'_> {
    fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// Words, `::`, and every other character by itself.
fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let len = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (text, behind) = rest.split_at(len);
        if !first.is_whitespace() {
            tokens.push(Token { text, byte: code.len() - rest.len() });
        }
        rest = behind;
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str, text: &str) -> Vec<String> {
        paths(&Source::new(path, text)).into_iter().map(|found| found.path).collect()
    }

    #[test]
    fn a_use_tree_is_unfolded() {
        let text = "use protocol::{api::{self, Field}, model::Offset as O, batch::*};\nuse bytes::Bytes;";
        assert_eq!(
            named("x/src/lib.rs", text),
            [
                "protocol::api::self",
                "protocol::api::Field",
                "protocol::model::Offset",
                "protocol::batch::*",
                "bytes::Bytes"
            ]
        );
    }

    #[test]
    fn paths_in_place_count_too() {
        let text = "fn f(x: u8) -> storage::disk::File { glommio::spawn(async { Vec::<u8>::new() }) }";
        assert_eq!(named("x/src/lib.rs", text), ["storage::disk::File", "glommio::spawn"]);
    }

    #[test]
    fn a_list_of_captures_is_no_import() {
        let text = "fn f<'a>() -> impl Iterator<Item = a::B> + use<'a> { x::y() }";
        assert_eq!(named("x/src/lib.rs", text), ["a::B", "x::y"]);
    }

    #[test]
    fn relative_paths_become_absolute() {
        let text = "use super::config::Config; use crate::shard; use self::inner::X;";
        let wanted = ["broker::config::Config", "broker::shard", "broker::shard::inner::X"];
        assert_eq!(named("broker/src/shard/mod.rs", text), wanted);
        assert_eq!(named("broker/src/shard/own.rs", "use super::super::config::X;"), ["broker::config::X"]);
    }

    #[test]
    fn comments_and_texts_name_nothing() {
        assert_eq!(
            named("x/src/lib.rs", "// storage::disk\nlet s = \"storage::disk\";"),
            Vec::<String>::new()
        );
    }
}
