//! Forms of arguments that several verbs take.

use protocol::model::limits::SHORT_STRING_BYTES_MAX;

/// `key=value`; the value may be empty and may hold further `=`.
pub fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, _)) if key.is_empty() || SHORT_STRING_BYTES_MAX < key.len() => {
            Err(format!("a key has 1 to {SHORT_STRING_BYTES_MAX} bytes"))
        }
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err("expected KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_ends_its_key_at_the_first_sign() {
        assert_eq!(key_value("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(key_value("a="), Ok(("a".to_owned(), String::new())));
        assert!(key_value("=b").is_err());
        assert!(key_value("a").is_err());
    }
}
