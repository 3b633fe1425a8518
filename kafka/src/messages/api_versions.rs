//! ApiVersions: which messages there are, in which versions. What every client asks first.
//!
//!     client ─ ApiVersions v4 ─▶ broker       knows it: the table of `api.rs`
//!     client ─ ApiVersions v9 ─▶ broker       does not: body of v0, error 35, what it knows of ApiVersions
//!     client ─ ApiVersions v4 ─▶ broker       asks again (KIP-511)
//!
//! The header of the response is of version 0 whatever is asked, so that every client can read it.

use super::{Request, Response};
use crate::api::Api;
use crate::error::ErrorCode;
use crate::header::append_response;
use crate::wire::{Malformed, Read, Reader, Writer};

/// An ApiVersions request in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ApiVersionsRequest<'a> {
    /// Such as `librdkafka`; since 3.
    pub client_software_name: Option<&'a str>,
    /// Since 3.
    pub client_software_version: Option<&'a str>,
}

impl ApiVersionsRequest<'_> {
    /// Whether the software's name and version are such as brokers may show anywhere (KIP-511). Those
    /// that do not name it are.
    pub fn is_named_well(&self) -> bool {
        [self.client_software_name, self.client_software_version].into_iter().flatten().all(is_plain)
    }
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`
fn is_plain(text: &str) -> bool {
    let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    is_end(bytes.first()) && is_end(bytes.last()) && bytes.iter().copied().all(is_inside)
}

impl<'a> Read<'a> for ApiVersionsRequest<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut software = |field| if r.since(3) { r.string(field).map(Some) } else { Ok(None) };
        let request = ApiVersionsRequest {
            client_software_name: software("client_software_name")?,
            client_software_version: software("client_software_version")?,
        };
        r.skip_tags()?;
        Ok(request)
    }
}

impl<'a> Request<'a> for ApiVersionsRequest<'a> {
    const API: Api = Api::ApiVersions;
}

/// The versions of one message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ApiRange {
    pub key: i16,
    pub min: i16,
    pub max: i16,
}

impl ApiRange {
    pub fn of(api: Api) -> ApiRange {
        let versions = api.advertised();
        ApiRange { key: api.key(), min: *versions.start(), max: *versions.end() }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiVersionsResponse {
    pub error: ErrorCode,
    pub apis: Vec<ApiRange>,
    /// Since 1.
    pub throttle_ms: i32,
}

impl ApiVersionsResponse {
    /// Everything that we serve.
    pub fn ours() -> ApiVersionsResponse {
        let apis = Api::ALL.iter().copied().map(ApiRange::of).collect();
        ApiVersionsResponse { error: ErrorCode::NONE, apis, throttle_ms: 0 }
    }

    /// Nothing, and why.
    pub fn refused(error: ErrorCode) -> ApiVersionsResponse {
        ApiVersionsResponse { error, apis: Vec::new(), throttle_ms: 0 }
    }
}

impl Response for ApiVersionsResponse {
    const API: Api = Api::ApiVersions;

    fn write(&self, w: &mut Writer<'_>) {
        w.error(self.error);
        w.list(&self.apis, |w, api| {
            w.i16(api.key);
            w.i16(api.min);
            w.i16(api.max);
            w.no_tags();
        });
        if w.since(1) {
            w.i32(self.throttle_ms);
        }
        // No features: clients then use transactions of the first kind and the classic groups.
        w.no_tags();
    }
}

/// Appends the answer to an ApiVersions of a version that we do not know. Returns its length.
pub fn append_unsupported(out: &mut Vec<u8>, correlation: i32) -> usize {
    let response = ApiVersionsResponse {
        error: ErrorCode::UNSUPPORTED_VERSION,
        apis: vec![ApiRange::of(Api::ApiVersions)],
        throttle_ms: 0,
    };
    append_response(out, 0, correlation, &response)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What librdkafka 2.x sends, without its frame and header.
    #[test]
    fn a_request_of_version_3_names_its_software() {
        let body = b"\x0blibrdkafka\x062.0.2\x00";
        let request = ApiVersionsRequest::parse(body, 3).unwrap();
        assert_eq!(request.client_software_name, Some("librdkafka"));
        assert_eq!(request.client_software_version, Some("2.0.2"));
        assert_eq!(ApiVersionsRequest::parse(b"", 2).unwrap().client_software_name, None);
    }

    #[test]
    fn software_is_named_in_letters_digits_and_between_them_dots_and_dashes() {
        let is_named_well = |name, version| {
            ApiVersionsRequest { client_software_name: name, client_software_version: version }
                .is_named_well()
        };
        assert!(is_named_well(None, None));
        for (name, version) in [
            ("librdkafka", "2.12.1-rdkafka-0.39.0"),
            ("confluent-kafka-python", "2.16.1-rdkafka-2.16.0"),
            ("apache-kafka-java", "4.1.0"),
            ("a", "7"),
        ] {
            assert!(is_named_well(Some(name), Some(version)), "{name} {version}");
        }
        for wrong in ["", "-", ".1", "1.", "a b", "a_b", "kafka\n", "ä", "a/b"] {
            assert!(!is_named_well(Some(wrong), Some("1")), "{wrong:?}");
            assert!(!is_named_well(Some("a"), Some(wrong)), "{wrong:?}");
        }
    }

    #[test]
    fn a_version_of_the_future_is_answered_in_version_0() {
        let mut out = Vec::new();
        let len = append_unsupported(&mut out, 7);
        assert_eq!(
            out,
            [0, 0, 0, 16, 0, 0, 0, 7, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4],
            "length ▸ correlation ▸ error ▸ one entry"
        );
        assert_eq!(len, out.len());
    }

    #[test]
    fn the_header_of_the_response_has_no_tagged_fields_in_any_version() {
        let mut out = Vec::new();
        let response = ApiVersionsResponse {
            error: ErrorCode::NONE,
            apis: vec![ApiRange::of(Api::Produce)],
            throttle_ms: 9,
        };
        append_response(&mut out, 4, 7, &response);
        assert_eq!(
            out,
            [0, 0, 0, 19, 0, 0, 0, 7, 0, 0, 2, 0, 0, 0, 0, 0, 11, 0, 0, 0, 0, 9, 0],
            "length ▸ correlation ▸ error ▸ entries ▸ throttle ▸ no tagged fields"
        );
    }
}
