//! Bytes that no client of good will sends, to every reader of requests.
//!
//!     cut anywhere ▸ a byte more ▸ bytes changed ▸ noise ▸ counts that lie ▸ floods of the smallest items
//!
//! None panics, each is told apart from a request, and none costs more memory than its bytes allow: the
//! readers of messages nothing at all, those by `kafka-protocol` so much for each item.

#[path = "differential/tape.rs"]
mod tape;

#[path = "differential/requests.rs"]
mod requests;

#[path = "differential/group_requests.rs"]
mod group_requests;

#[path = "differential/cold_requests.rs"]
mod cold_requests;

#[path = "../../protocol/tests/decoders/sys.rs"]
mod sys;

use std::fmt::{self, Debug, Write as _};

use bytes::Bytes;
use kafka::cold::{self, ColdRequest, ITEMS_MAX, MEMORY_PER_ITEM};
use kafka::messages::*;
use kafka::{Api, Malformed, frame, header};
use proptest::prelude::*;
use sys::allocated_by;
use tape::Tape;

/// Takes text and keeps nothing.
struct Nowhere;

impl fmt::Write for Nowhere {
    fn write_str(&mut self, _: &str) -> fmt::Result {
        Ok(())
    }
}

/// Parses, and walks over everything that the request offers.
fn walk<'a, R: Request<'a> + Debug>(body: &'a [u8], v: i16) -> Result<(), Malformed> {
    let request = R::parse(body, v)?;
    write!(Nowhere, "{request:?}").expect("nowhere takes everything");
    Ok(())
}

fn read(api: Api, v: i16, body: &Bytes) -> Result<(), Malformed> {
    match api {
        Api::Produce => walk::<ProduceRequest<'_>>(body, v),
        Api::Fetch => walk::<FetchRequest<'_>>(body, v),
        Api::ListOffsets => walk::<ListOffsetsRequest<'_>>(body, v),
        Api::Metadata => walk::<MetadataRequest<'_>>(body, v),
        Api::ApiVersions => walk::<ApiVersionsRequest<'_>>(body, v),
        Api::InitProducerId => walk::<InitProducerIdRequest<'_>>(body, v),
        Api::OffsetCommit => walk::<OffsetCommitRequest<'_>>(body, v),
        Api::OffsetFetch => walk::<OffsetFetchRequest<'_>>(body, v),
        Api::FindCoordinator => walk::<FindCoordinatorRequest<'_>>(body, v),
        Api::JoinGroup => walk::<JoinGroupRequest<'_>>(body, v),
        Api::SyncGroup => walk::<SyncGroupRequest<'_>>(body, v),
        Api::Heartbeat => walk::<HeartbeatRequest<'_>>(body, v),
        Api::LeaveGroup => walk::<LeaveGroupRequest<'_>>(body, v),
        cold => cold::decode_request(cold, v, body.clone()).map(drop),
    }
}

/// Bytes that a reader may ask for. An item takes a byte at least; the text of an error that
/// `kafka-protocol` found is in the constant, and the count of the owners of a frame.
fn budget(api: Api, len: usize) -> usize {
    match ColdRequest::APIS.contains(&api) {
        true => 4096 + MEMORY_PER_ITEM * len.min(ITEMS_MAX),
        false => 0,
    }
}

fn read_within_budget(api: Api, v: i16, body: &Bytes) -> Result<(), Malformed> {
    let (allocated, result) = allocated_by(|| read(api, v, body));
    let budget = budget(api, body.len());
    assert!(
        allocated <= budget,
        "{api} {v} took {allocated} bytes for a body of {}, and may take {budget}: {result:?}",
        body.len()
    );
    result
}

fn read_all(body: &Bytes) {
    for (api, v) in requests::served() {
        let _ = read_within_budget(api, v, body); // either outcome is right
    }
}

fn tape() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_cut_request_is_refused_and_a_longer_one_is_not(tape in tape()) {
        for (api, v) in requests::served() {
            let body = requests::random(api, v, &mut Tape::new(tape.clone()));
            prop_assert_eq!(read_within_budget(api, v, &body), Ok(()), "{} {}", api, v);
            for len in 0..body.len() {
                let cut = read_within_budget(api, v, &body.slice(..len));
                prop_assert!(matches!(cut, Err(Malformed::Truncated { .. })), "{} {} cut to {}: {:?}", api, v, len, cut);
            }
            let longer = read_within_budget(api, v, &Bytes::from([&body[..], &[0]].concat()));
            prop_assert_eq!(longer, Ok(()), "{} {}", api, v);
        }
    }

    #[test]
    fn changed_bytes_cost_little_and_do_not_panic(
        tape in tape(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        for (api, v) in requests::served() {
            let mut body = Vec::from(requests::random(api, v, &mut Tape::new(tape.clone())));
            for (at, byte) in changes.iter().filter(|_| !body.is_empty()).cloned().collect::<Vec<_>>() {
                let at = at.index(body.len());
                body[at] = byte;
            }
            let _ = read_within_budget(api, v, &body.into()); // either outcome is right
        }
    }

    #[test]
    fn a_request_of_another_version_costs_little_and_does_not_panic(tape in tape(), other in any::<prop::sample::Index>()) {
        let served: Vec<(Api, i16)> = requests::served().collect();
        for &(api, v) in &served {
            let body = requests::random(api, v, &mut Tape::new(tape.clone()));
            let (api, v) = served[other.index(served.len())];
            let _ = read_within_budget(api, v, &body); // either outcome is right
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn noise_costs_little_and_does_not_panic(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        read_all(&Bytes::from(noise.clone()));
        let (allocated, parsed) = allocated_by(|| header::parse(&noise).is_ok());
        prop_assert_eq!(allocated, 0, "the header {}", if parsed { "was read" } else { "was refused" });
        if let Ok(Some(len)) = frame::parse(&noise, 1 << 20) {
            prop_assert!(len <= 1 << 20);
        }
    }

    #[test]
    fn small_noise_costs_little_and_does_not_panic(noise in prop::collection::vec(0u8..4, 0..200)) {
        read_all(&Bytes::from(noise));
    }
}

/// Counts that lie, in both writings: at some alignment one stands where a reader looks for it.
#[test]
fn counts_that_lie_cost_little() {
    let classic =
        [i32::MAX, 1 << 24, 100_000, 10_000, 1_000, 64, 1].map(|count| count.to_be_bytes().to_vec());
    let compact = [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0x81, 0x80, 0x80, 0x08], &[0xe9, 7], &[65]];
    for count in classic.into_iter().chain(compact.map(<[u8]>::to_vec)) {
        for lead in 0..24 {
            for len in [0, 1, 7, 64, 4096, 64 << 10] {
                let lies = count.iter().copied().cycle().take(len);
                read_all(&std::iter::repeat_n(0, lead).chain(lies).collect());
            }
        }
    }
}

/// The dearest bodies there are: as many of the smallest items as they hold.
#[test]
fn a_flood_of_small_items_costs_what_the_budget_says() {
    const COUNT: usize = 40_000;
    let compact = [(COUNT + 1) as u8 | 0x80, ((COUNT + 1) >> 7) as u8 | 0x80, ((COUNT + 1) >> 14) as u8];
    let classic = (COUNT as u32).to_be_bytes();
    // What stands before the count, the count, an item, what stands after the items.
    let floods = [
        (Api::AlterConfigs, 2, [&[2, 2, 1][..], &compact, &[1, 0, 0], &[0; 3]]),
        (Api::DescribeLogDirs, 4, [&[], &compact, &[1, 1, 0], &[0; 1]]),
        (Api::DescribeGroups, 5, [&[], &compact, &[1], &[0; 2]]),
        (Api::CreateTopics, 2, [&[], &classic, &[0; 16], &[0; 5]]),
    ];
    for (api, v, [before, count, item, after]) in floods {
        let body = Bytes::from([before, count, &item.repeat(COUNT), after].concat());
        let (allocated, read) = allocated_by(|| read(api, v, &body));
        assert_eq!(read, Ok(()), "{api}");
        assert!(24 * COUNT < allocated, "{api}: the allocator counts: {allocated} bytes");
        assert!(allocated <= MEMORY_PER_ITEM * COUNT, "{api}: {allocated} bytes for {COUNT} items");
    }
}

/// Tagged fields that nobody knows are kept by the crate, each by itself.
#[test]
fn a_flood_of_tagged_fields_costs_what_the_budget_says() {
    let count = 16_000_u16;
    let mut body = vec![0, (count & 0x7f) as u8 | 0x80, (count >> 7) as u8];
    for tag in 0..count {
        body.extend([(tag & 0x7f) as u8 | 0x80, (tag >> 7) as u8, 0]);
    }
    let body = Bytes::from(body);
    let (allocated, read) = allocated_by(|| read(Api::DescribeCluster, 0, &body));
    assert_eq!(read, Ok(()));
    assert!(16 * usize::from(count) < allocated, "the crate keeps them: {allocated} bytes");
    assert!(allocated <= MEMORY_PER_ITEM * usize::from(count), "{allocated} bytes");
}
