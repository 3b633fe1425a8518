//! Tells code from comments and literals.
//!
//!     let s = "a // b"; // why
//!     let s = "      ";            code: quotes stay, what is between does not
//!                       // why     comments
//!
//! Knows nested block comments, raw strings, and that `'a` is a lifetime where `'a'` is a character.

/// Code and comments, each with everything else turned into spaces; lines and columns in bytes stay.
pub fn separate(text: &str) -> (String, String) {
    let bytes = text.as_bytes();
    let mut code = blank(bytes);
    let mut comments = blank(bytes);
    let mut at = 0;
    while at < bytes.len() {
        let (kind, end) = token(bytes, at);
        assert!(at < end, "BUG: a token has at least a byte");
        match kind {
            Kind::Code => code[at..end].copy_from_slice(&bytes[at..end]),
            Kind::Comment => comments[at..end].copy_from_slice(&bytes[at..end]),
            Kind::Literal => {
                // The quotes stay, so that `concat!("a", "b")` does not become `concat!(, )`.
                code[at] = b'"';
                code[end - 1] = b'"';
            }
        }
        at = end;
    }
    let text = |bytes| String::from_utf8(bytes).expect("BUG: whole characters were copied or blanked");
    (text(code), text(comments))
}

enum Kind {
    Code,
    Comment,
    Literal,
}

fn blank(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }).collect()
}

/// What begins at `at`, and where it ends.
fn token(bytes: &[u8], at: usize) -> (Kind, usize) {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        let len = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        return (Kind::Comment, at + len);
    }
    if rest.starts_with(b"/*") {
        return (Kind::Comment, at + block_comment_len(rest));
    }
    if let Some(len) = raw_string_len(rest) {
        return (Kind::Literal, at + len);
    }
    match rest[0] {
        b'"' => (Kind::Literal, at + quoted_len(rest, b'"')),
        b'\'' => match char_len(rest) {
            Some(len) => (Kind::Literal, at + len),
            None => (Kind::Code, at + 1),
        },
        byte if is_word(byte) => {
            // A whole word at once: the `r` of `for` begins no raw string.
            let len = rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len());
            (Kind::Code, at + len)
        }
        _ => (Kind::Code, at + 1),
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || 0x80 <= byte
}

fn block_comment_len(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// `r"…"`, `r#"…"#`, `br#"…"#`, and `b"…"`, `c"…"`, which a word's first letter must not hide.
fn raw_string_len(rest: &[u8]) -> Option<usize> {
    let prefix = rest.iter().take_while(|byte| matches!(byte, b'r' | b'b' | b'c')).count();
    if prefix == 0 || 2 < prefix {
        return None;
    }
    let raw = rest[..prefix].contains(&b'r');
    let hashes = if raw { rest[prefix..].iter().take_while(|byte| **byte == b'#').count() } else { 0 };
    let open = prefix + hashes;
    match rest.get(open) {
        Some(b'"') if raw => {
            let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
            let inside = &rest[open + 1..];
            let len = inside.windows(close.len()).position(|window| window == close).unwrap_or(inside.len());
            Some((open + 1 + len + close.len()).min(rest.len()))
        }
        Some(b'"') => Some(prefix + quoted_len(&rest[prefix..], b'"')),
        Some(b'\'') if rest[..prefix] == *b"b" => Some(prefix + quoted_len(&rest[prefix..], b'\'')),
        _ => None,
    }
}

/// From a quote to its partner.
fn quoted_len(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character is a backslash and more, or one character and a quote; a lifetime is neither.
fn char_len(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        return Some(quoted_len(rest, b'\''));
    }
    let bytes_of_char = match rest.get(1)? {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    };
    (rest.get(1 + bytes_of_char) == Some(&b'\'')).then_some(bytes_of_char + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        separate(text).0.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_are_not_code() {
        assert_eq!(code("a // b\nc /* d /* e */ f */ g"), "a c g");
        assert_eq!(separate("a // b").1.trim(), "// b");
        assert_eq!(code("/// doc\n//! doc\nx"), "x");
    }

    #[test]
    fn literals_are_not_code() {
        assert_eq!(code(r#"f("glommio::x // no", 1)"#), r#"f(" ", 1)"#);
        assert_eq!(code(r##"f(r#"a "b" c"#, y)"##), r#"f(" ", y)"#);
        assert_eq!(code(r#"f(b"x\"y", z)"#), r#"f(" ", z)"#);
        assert_eq!(
            code(r"match c { '{' => 1, '\'' => 2, b'\\' => 3 }"),
            r#"match c { " " => 1, " " => 2, " " => 3 }"#
        );
    }

    #[test]
    fn lifetimes_and_words_are_code() {
        assert_eq!(
            code("fn f<'a>(x: &'a str) -> &'static str {}"),
            "fn f<'a>(x: &'a str) -> &'static str {}"
        );
        assert_eq!(code("for b in br { c(r) }"), "for b in br { c(r) }");
        assert_eq!(code("r#type"), "r#type");
    }

    #[test]
    fn places_stay() {
        let text = "let é = \"é\"; // é\nx";
        let (code, comments) = separate(text);
        assert_eq!((code.len(), comments.len()), (text.len(), text.len()));
        assert_eq!(code.lines().count(), 2);
    }
}
