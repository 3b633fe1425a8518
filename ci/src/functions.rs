//! Functions and their lengths, from the line with `fn` to the line with the closing brace.

use crate::source::{Source, line_of};

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    pub name: String,
    /// Line of the `fn`, counted from 1.
    pub line: usize,
    pub lines: usize,
}

/// Every function with a body, those inside of others among them.
pub fn functions(source: &Source) -> Vec<Function> {
    let code = &source.code;
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let before = |at: usize| at.checked_sub(1).and_then(|at| code.as_bytes().get(at));
    let starts = code.match_indices("fn ").map(|(at, _)| at).filter(|at| !before(*at).is_some_and(is_word));
    starts.filter_map(|start| function(code, start)).collect()
}

fn function(code: &str, start: usize) -> Option<Function> {
    let signature = code.get(start + 3..)?;
    let name: String = signature.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if name.is_empty() {
        return None;
    }
    let body = body_start(signature)?;
    let end = start + 3 + body + body_len(&signature[body..])?;
    let line = line_of(code, start);
    Some(Function { name, line, lines: line_of(code, end) - line + 1 })
}

/// Where `{` opens the body; `None` if a `;` says that there is none. A `;` in brackets is the
/// length of an array.
fn body_start(signature: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (at, byte) in signature.bytes().enumerate() {
        match byte {
            b'[' | b'(' => depth += 1,
            b']' | b')' => depth = depth.saturating_sub(1),
            b'{' if depth == 0 => return Some(at),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Bytes from the opening brace to before the closing one.
fn body_len(body: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (at, byte) in body.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, usize, usize)> {
        let functions = functions(&Source::new("x/src/lib.rs", text));
        functions.into_iter().map(|function| (function.name, function.line, function.lines)).collect()
    }

    #[test]
    fn a_function_reaches_to_its_closing_brace() {
        let text = "\npub async fn a<T>(x: [u8; 4])\nwhere T: Fn()\n{\n  if x { \"}\" }\n}\nfn b() {}\n";
        assert_eq!(found(text), [("a".to_owned(), 2, 5), ("b".to_owned(), 7, 1)]);
    }

    #[test]
    fn types_and_declarations_are_no_functions() {
        assert_eq!(found("type F = fn (u8); trait T { fn f(&self); }\nstruct defn { x: u8 }"), []);
    }
}
