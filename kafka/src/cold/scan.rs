//! Walks a request by a table of its fields, and lets nobody believe its counts.
//!
//!     Field { name, versions, kind }       kind: a number, a string, items of one kind, structs of fields

use crate::api::Api;
use crate::wire::{Malformed, Reader};

/// Items of all arrays and tagged fields of one request. A request for ten thousand partitions is within.
pub const ITEMS_MAX: usize = 50_000;

/// A field of a request, and in which versions it is there.
pub(super) struct Field {
    name: &'static str,
    since: i16,
    until: i16,
    kind: Kind,
}

pub(super) enum Kind {
    /// So many bytes.
    Fixed(usize),
    /// May be null: where it must not, the crate says so.
    String,
    /// May be null, as above.
    Items(&'static Kind),
    /// May be null, as above.
    Structs(&'static [Field]),
}

impl Field {
    pub(super) const fn new(name: &'static str, kind: Kind) -> Field {
        Field { name, since: 0, until: i16::MAX, kind }
    }

    pub(super) const fn since(self, since: i16) -> Field {
        Field { since, ..self }
    }

    pub(super) const fn until(self, until: i16) -> Field {
        Field { until, ..self }
    }

    fn is_in(&self, version: i16) -> bool {
        self.since <= version && version <= self.until
    }
}

/// Walks a body to its end: every length and count is held by the bytes, and there are few enough items.
/// Returns how long it is; more may follow, which Kafka does not look at either.
pub(super) fn scan(body: &[u8], api: Api, version: i16, fields: &[Field]) -> Result<usize, Malformed> {
    let mut scan = Scan { r: Reader::new(body, api, version), items: 0 };
    scan.fields(fields)?;
    Ok(body.len() - scan.r.rest().len())
}

struct Scan<'a> {
    r: Reader<'a>,
    /// So far.
    items: usize,
}

impl Scan<'_> {
    fn fields(&mut self, fields: &[Field]) -> Result<(), Malformed> {
        let version = self.r.version();
        for field in fields.iter().filter(|field| field.is_in(version)) {
            self.value(field.name, &field.kind)?;
        }
        self.tags()
    }

    fn value(&mut self, name: &'static str, kind: &Kind) -> Result<(), Malformed> {
        match kind {
            Kind::Fixed(len) => self.r.take(name, *len).map(drop),
            Kind::String => self.r.nullable_string(name).map(drop),
            Kind::Items(item) => self.each(name, |scan| scan.value(name, item)),
            Kind::Structs(fields) => self.each(name, |scan| scan.fields(fields)),
        }
    }

    fn each(
        &mut self,
        name: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let count = self.r.nullable_count(name)?.unwrap_or(0);
        self.count(name, count)?;
        (0..count).try_for_each(|_| item(self))
    }

    fn tags(&mut self) -> Result<(), Malformed> {
        if !self.r.is_flexible() {
            return Ok(());
        }
        // The reader walks them; here they are only counted.
        let count = { self.r }.varint("tagged fields")?;
        self.count("tagged fields", count as usize)?;
        self.r.skip_tags()
    }

    fn count(&mut self, name: &'static str, count: usize) -> Result<(), Malformed> {
        self.items = self.items.saturating_add(count);
        match self.items <= ITEMS_MAX {
            true => Ok(()),
            false => Err(Malformed::Invalid { field: name, why: "the request has too many items" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[Field] = &[Field::new("names", Kind::Items(&Kind::String)).since(1)];

    fn scanned(version: i16, body: &[u8]) -> Result<usize, Malformed> {
        // A classic and a flexible version of one api.
        scan(body, Api::DescribeGroups, version, NAMES)
    }

    #[test]
    fn a_field_is_there_in_its_versions_only() {
        assert_eq!(scanned(0, &[]), Ok(0));
        assert_eq!(scanned(1, &[]), Err(Malformed::Truncated { field: "names" }));
        assert_eq!(scanned(1, &[0, 0, 0, 1, 0, 1, b'a']), Ok(7));
        assert_eq!(scanned(5, &[2, 2, b'a', 0]), Ok(4));
        assert_eq!(scanned(5, &[2, 2, b'a', 0, 9]), Ok(4));
        assert_eq!(scanned(5, &[2, 2, b'a']), Err(Malformed::Truncated { field: "tagged fields" }));
    }

    #[test]
    fn more_items_than_the_limit_are_refused_even_if_they_are_there() {
        let body = |count: usize| {
            let count = i32::try_from(count).unwrap().to_be_bytes();
            [&count[..], &vec![0; 2 * (ITEMS_MAX + 1)]].concat()
        };
        assert_eq!(scanned(1, &body(ITEMS_MAX)), Ok(4 + 2 * ITEMS_MAX));
        let over = Malformed::Invalid { field: "names", why: "the request has too many items" };
        assert_eq!(scanned(1, &body(ITEMS_MAX + 1)), Err(over));
    }

    #[test]
    fn tagged_fields_count_as_items() {
        // No names, 50,001 tagged fields.
        let over = Malformed::Invalid { field: "tagged fields", why: "the request has too many items" };
        assert_eq!(scanned(5, &[1, 0xd1, 0x86, 3]), Err(over));
        assert_eq!(scanned(5, &[1, 0xd0, 0x86, 3]), Err(Malformed::Truncated { field: "tag" }));
    }
}
