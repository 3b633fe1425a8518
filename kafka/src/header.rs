//! What stands before the body of a request and of a response.
//!
//!     request     key i16 │ version i16 │ correlation i32 │ client id, nullable │ tagged fields
//!                                                           always classic        since flexible
//!     response    correlation i32 │ tagged fields
//!                                   since flexible, never for ApiVersions
//!
//! A request we do not serve costs its connection, as with Kafka, except ApiVersions in a version of the
//! future: the client learns from the answer which version to ask in
//! ([`append_unsupported`](crate::messages::api_versions::append_unsupported)).

use crate::api::Api;
use crate::frame;
use crate::messages::Response;
use crate::wire::{Malformed, Reader, Writer};

/// The header of a request in place: borrows the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestHeader<'a> {
    pub api: Api,
    pub version: i16,
    /// Chosen by the client; its response carries it too.
    pub correlation: i32,
    pub client_id: Option<&'a str>,
}

/// Why a frame is not a request that we serve.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("no api has the key {key}")]
    UnknownApi { key: i16 },
    #[error("version {version} of {api} is not supported")]
    UnsupportedVersion { api: Api, version: i16, correlation: i32 },
}

/// Reads the header of a frame (without its length): the header, and the body behind it.
pub fn parse(frame: &[u8]) -> Result<(RequestHeader<'_>, &[u8]), HeaderError> {
    let mut r = Reader::with(frame, 1, false);
    let key = r.i16("api key")?;
    let version = r.i16("api version")?;
    let correlation = r.i32("correlation id")?;
    let api = Api::from_key(key).ok_or(HeaderError::UnknownApi { key })?;
    if !api.serves(version) {
        return Err(HeaderError::UnsupportedVersion { api, version, correlation });
    }
    let client_id = r.nullable_string("client id")?;
    let mut r = Reader::new(r.rest(), api, version);
    r.skip_tags()?;
    Ok((RequestHeader { api, version, correlation, client_id }, r.rest()))
}

/// Begins the frame of a response; [`frame::end`] with what this returns ends it.
#[must_use]
pub fn begin_response(out: &mut Vec<u8>, api: Api, version: i16, correlation: i32) -> usize {
    let start = frame::begin(out);
    let flexible = api.response_header_version(version) != 0;
    let mut w = Writer::with(out, version, flexible);
    w.i32(correlation);
    w.no_tags();
    start
}

/// Appends one frame to `out`: length, header, and `response` in `version`. Returns its length.
pub fn append_response<R: Response>(
    out: &mut Vec<u8>,
    version: i16,
    correlation: i32,
    response: &R,
) -> usize {
    let start = begin_response(out, R::API, version, correlation);
    response.write(&mut Writer::new(out, R::API, version));
    frame::end(out, start, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_classic_header_ends_with_the_client_id() {
        let frame = [&[0, 3, 0, 8, 0, 0, 0, 7, 0, 3][..], b"abc", &[0xee]].concat();
        let expected =
            RequestHeader { api: Api::Metadata, version: 8, correlation: 7, client_id: Some("abc") };
        assert_eq!(parse(&frame), Ok((expected, &[0xee][..])));
    }

    #[test]
    fn a_flexible_header_ends_with_tagged_fields_and_its_client_id_is_classic() {
        let frame = [0, 3, 0, 9, 0, 0, 0, 7, 0xff, 0xff, 1, 5, 1, 0, 0xee];
        let expected = RequestHeader { api: Api::Metadata, version: 9, correlation: 7, client_id: None };
        assert_eq!(parse(&frame), Ok((expected, &[0xee][..])));
        assert!(parse(&frame[..13]).is_err());
    }

    #[test]
    fn what_we_do_not_serve_is_told_with_what_an_answer_needs() {
        assert_eq!(parse(&[0, 4, 0, 0, 0, 0, 0, 7]), Err(HeaderError::UnknownApi { key: 4 }));
        let later = HeaderError::UnsupportedVersion { api: Api::ApiVersions, version: 9, correlation: 7 };
        assert_eq!(parse(&[0, 18, 0, 9, 0, 0, 0, 7]), Err(later));
        let old = HeaderError::UnsupportedVersion { api: Api::Produce, version: 2, correlation: 7 };
        assert_eq!(parse(&[0, 0, 0, 2, 0, 0, 0, 7, 0, 0]), Err(old));
        let cut = Malformed::Truncated { field: "correlation id" };
        assert_eq!(parse(&[0, 4, 0, 0, 0, 0, 0]), Err(HeaderError::Malformed(cut)));
    }
}
