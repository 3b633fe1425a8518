//! What the sources said, as text, with where each said it. Nothing is understood here but names.
//!
//!     [shards]                                  ("shards.cpus", "0,2-3", ringlog.toml:2)
//!     cpus = "0,2-3"              ──▶
//!     RINGLOG__SHARDS__CPUS=1     ──▶           ("shards.cpus", "1", RINGLOG__SHARDS__CPUS)   wins
//!
//! Names are checked against the table of keys, so that a typo is found in every source alike.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Origin, Problem};
use super::keys::{self, Info, Key};
use super::value::Value;

/// What was said of each key that was spoken of; the last word of each.
#[derive(Debug, Default)]
pub struct RawConfig {
    said: BTreeMap<&'static str, Said>,
    pub problems: Vec<Problem>,
}

#[derive(Debug)]
struct Said {
    text: String,
    origin: Origin,
}

impl RawConfig {
    pub fn add_file(&mut self, path: &Path) {
        match std::fs::read_to_string(path) {
            Ok(text) => self.add_toml(path, &text),
            Err(error) => {
                let origin = Origin::File { path: path.to_owned(), line: None };
                self.problems.push(Problem { origin, message: format!("cannot read the file: {error}") });
            }
        }
    }

    pub fn add_toml(&mut self, path: &Path, text: &str) {
        let at = |byte: usize| {
            let before = text.get(..byte).unwrap_or(text);
            let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
            Origin::File { path: path.to_owned(), line: Some(line) }
        };
        let root = match DeTable::parse(text) {
            Ok(root) => root,
            Err(error) => {
                let origin = at(error.span().map_or(0, |span| span.start));
                self.problems.push(Problem { origin, message: error.message().to_owned() });
                return;
            }
        };
        let mut entries = Vec::new();
        flatten("", root.get_ref(), &mut entries);
        for (name, key_start, value) in entries {
            match value {
                Ok(value) => self.say(&name, value, at(key_start)),
                Err(what) => {
                    let message =
                        format!("{name} is {what}, where a text, a number, true or false is expected");
                    self.problems.push(Problem { origin: at(key_start), message });
                }
            }
        }
    }

    /// Takes the variables that begin with `RINGLOG__` and leaves the others alone.
    pub fn add_env(&mut self, env: impl Iterator<Item = (String, String)>) {
        // In the order of their names, so that errors come in the same order each time.
        let ours: BTreeMap<String, String> = env.filter(|(name, _)| name.starts_with(ENV_PREFIX)).collect();
        for (name, value) in ours {
            let key = name.trim_start_matches(ENV_PREFIX).replace("__", ".").to_lowercase();
            self.say(&key, value, Origin::Env { name });
        }
    }

    pub fn add_set(&mut self, text: &str) {
        let origin = Origin::Set { text: text.to_owned() };
        match text.split_once('=') {
            Some((name, value)) => self.say(name.trim(), value.trim().to_owned(), origin),
            None => self.problems.push(Problem { origin, message: "expected section.key=value".to_owned() }),
        }
    }

    /// The value of `key`: what was said last, or else the default. A text that cannot be understood
    /// becomes a problem, and the default stands in so that the rest can be looked at.
    pub fn get<T: Value>(&mut self, key: &Key<T>) -> T {
        let Info { name, default, .. } = key.info;
        if let Some(said) = self.said.get(name) {
            match T::parse(&said.text) {
                Ok(value) => return value,
                Err(why) => {
                    let message = format!("{name}: {why}");
                    self.problems.push(Problem { origin: said.origin.clone(), message });
                }
            }
        }
        T::parse(default).expect("BUG: a default that its own parser refuses")
    }

    /// Where the first of `names` that was spoken of was spoken of.
    pub fn origin_of(&self, names: &[&str]) -> Origin {
        let said = names.iter().find_map(|name| self.said.get(name));
        said.map_or(Origin::Unsaid, |said| said.origin.clone())
    }

    fn say(&mut self, name: &str, text: String, origin: Origin) {
        match keys::ALL.iter().find(|info| info.name == name) {
            Some(info) => {
                self.said.insert(info.name, Said { text, origin });
            }
            None => {
                let hint = keys::nearest(name).map_or_else(
                    || "; docs/config.md lists the keys".to_owned(),
                    |near| format!("; did you mean {}?", origin.spell(near)),
                );
                let message = format!("{} is not a key{hint}", origin.spell(name));
                self.problems.push(Problem { origin, message });
            }
        }
    }
}

const ENV_PREFIX: &str = "RINGLOG__";

/// A name, the byte its key stands at, and its value as text, or else what it is instead.
type Entry = (String, usize, Result<String, &'static str>);

/// Every value below `table`, named from the root: `shards.cpus`. Depth is bounded by the parser.
fn flatten(prefix: &str, table: &DeTable<'_>, entries: &mut Vec<Entry>) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) => flatten(&format!("{name}."), inner, entries),
            value => entries.push((name, key.span().start, text_of(value))),
        }
    }
}

fn text_of(value: &DeValue<'_>) -> Result<String, &'static str> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => Ok(number.to_string()),
        DeValue::Boolean(answer) => Ok(answer.to_string()),
        // `cpus = [0, 2]` is `cpus = "0,2"`.
        DeValue::Array(items) => {
            let texts: Result<Vec<String>, _> = items.iter().map(Spanned::get_ref).map(text_of).collect();
            texts.map(|texts| texts.join(","))
        }
        DeValue::Float(_) => Err("a number with a fraction"),
        DeValue::Datetime(_) => Err("a date"),
        DeValue::Table(_) => Err("a table"),
    }
}
