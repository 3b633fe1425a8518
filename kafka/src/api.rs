//! Which messages we speak, in which versions: one table.
//!
//!     key ▸ name ▸ versions we advertise ▸ versions we serve ▸ first flexible version
//!
//! The least versions are those of Kafka 4.1, none higher: librdkafka before 2.11.1 switches features
//! off if an old version is not advertised. So Produce is advertised from 0, as Kafka does, although
//! 0 to 2 are refused: without it librdkafka takes the broker for one without compression.

use std::fmt;
use std::ops::RangeInclusive;

/// No version of the message is flexible.
const NEVER: i16 = i16::MAX;

macro_rules! apis {
    ($($name:ident = $key:literal, $advertised:literal | $min:literal ..= $max:literal, $flexible:expr;)*) => {
        /// A message that we serve.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        #[repr(i16)]
        pub enum Api {
            $($name = $key,)*
        }

        impl Api {
            /// All of them, in the order of their keys.
            pub const ALL: &[Api] = &[$(Api::$name),*];

            /// `None` for what we do not serve.
            pub const fn from_key(key: i16) -> Option<Api> {
                match key { $($key => Some(Api::$name),)* _ => None }
            }

            /// Kafka's name, as in `Produce`.
            pub const fn name(self) -> &'static str {
                match self { $(Api::$name => stringify!($name),)* }
            }

            const fn row(self) -> Row {
                match self {
                    $(Api::$name => Row {
                        advertised_min: $advertised, min: $min, max: $max, flexible: $flexible,
                    },)*
                }
            }
        }
    };
}

struct Row {
    advertised_min: i16,
    min: i16,
    max: i16,
    flexible: i16,
}

apis! {
    //                       key  advertised | served, first flexible
    Produce                    = 0,  0 | 3..=11, 9;
    Fetch                      = 1,  4 | 4..=12, 12;
    ListOffsets                = 2,  1 | 1..=7,  6;
    Metadata                   = 3,  0 | 0..=12, 9;
    OffsetCommit               = 8,  2 | 2..=8,  8;
    OffsetFetch                = 9,  1 | 1..=8,  6;
    FindCoordinator            = 10, 0 | 0..=4,  3;
    JoinGroup                  = 11, 0 | 0..=9,  6;
    Heartbeat                  = 12, 0 | 0..=4,  4;
    LeaveGroup                 = 13, 0 | 0..=5,  4;
    SyncGroup                  = 14, 0 | 0..=5,  4;
    DescribeGroups             = 15, 0 | 0..=5,  5;
    ListGroups                 = 16, 0 | 0..=5,  3;
    ApiVersions                = 18, 0 | 0..=4,  3;
    CreateTopics               = 19, 2 | 2..=7,  5;
    DeleteTopics               = 20, 1 | 1..=6,  4;
    DeleteRecords              = 21, 0 | 0..=2,  2;
    InitProducerId             = 22, 0 | 0..=4,  2;
    OffsetForLeaderEpoch       = 23, 2 | 2..=4,  4;
    DescribeConfigs            = 32, 1 | 1..=4,  4;
    AlterConfigs               = 33, 0 | 0..=2,  2;
    DescribeLogDirs            = 35, 1 | 1..=4,  2;
    CreatePartitions           = 37, 0 | 0..=3,  2;
    DeleteGroups               = 42, 0 | 0..=2,  2;
    IncrementalAlterConfigs    = 44, 0 | 0..=1,  1;
    ListPartitionReassignments = 46, 0 | 0..=0,  0;
    OffsetDelete               = 47, 0 | 0..=0,  NEVER;
    DescribeCluster            = 60, 0 | 0..=1,  0;
}

impl Api {
    pub const fn key(self) -> i16 {
        self as i16
    }

    /// What ApiVersions says.
    pub const fn advertised(self) -> RangeInclusive<i16> {
        let row = self.row();
        row.advertised_min..=row.max
    }

    /// What is not refused.
    pub const fn versions(self) -> RangeInclusive<i16> {
        let row = self.row();
        row.min..=row.max
    }

    pub fn serves(self, version: i16) -> bool {
        self.versions().contains(&version)
    }

    /// Whether `version` is written with compact strings and tagged fields.
    pub const fn is_flexible(self, version: i16) -> bool {
        self.row().flexible <= version
    }

    /// Version of the header in front of the request: 1 ends with the client id, 2 with tagged fields.
    pub const fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// Version of the header in front of the response: 0 is the correlation id, 1 has tagged fields too.
    /// That of ApiVersions is always 0: who asks does not know yet which versions there are.
    pub const fn response_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) && !matches!(self, Api::ApiVersions) { 1 } else { 0 }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::ApiKey;

    #[test]
    fn apis_are_listed_once_and_in_order() {
        assert!(Api::ALL.is_sorted_by(|a, b| a.key() < b.key()));
        assert!(Api::ALL.iter().all(|api| Api::from_key(api.key()) == Some(*api)));
        assert_eq!(Api::from_key(4), None);
    }

    #[test]
    fn the_table_agrees_with_kafkas() {
        for api in Api::ALL {
            let theirs = ApiKey::try_from(api.key()).expect("Kafka has it");
            assert_eq!(format!("{theirs:?}"), api.name());
            for version in api.versions() {
                assert_eq!(
                    api.request_header_version(version),
                    theirs.request_header_version(version),
                    "{api} {version}"
                );
                assert_eq!(
                    api.response_header_version(version),
                    theirs.response_header_version(version),
                    "{api} {version}"
                );
            }
        }
    }

    /// What librdkafka before 2.11.1 asks for by exact versions (reference: rdkafka_feature.c, v2.8.0).
    #[test]
    fn what_old_librdkafka_looks_for_is_advertised() {
        let wanted = [
            (Api::Produce, &[0, 3, 7][..]),
            (Api::Fetch, &[4, 10]),
            (Api::FindCoordinator, &[0]),
            (Api::OffsetCommit, &[2]),
            (Api::OffsetFetch, &[1]),
            (Api::JoinGroup, &[0]),
            (Api::SyncGroup, &[0]),
            (Api::Heartbeat, &[0]),
            (Api::LeaveGroup, &[0]),
            (Api::ListOffsets, &[1]),
            (Api::InitProducerId, &[0]),
        ];
        for (api, versions) in wanted {
            assert!(versions.iter().all(|version| api.advertised().contains(version)), "{api}");
        }
    }
}
