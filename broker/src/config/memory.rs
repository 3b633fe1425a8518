//! What a broker takes of memory, and how it is made to fit `broker.memory_limit`.
//!
//!     │ process │ shard 0: io │ requests │ cache │ compaction │ rest │ shard 1: …      │ limit
//!
//! What the user has set stays as it is. The other parts shrink together, each from its default towards
//! the least it works with; where that does not do the broker does not start.

use super::keys::{self, Info};
use super::{Config, Origin, RawConfig};

/// The program, its catalog, its other threads.
const PROCESS_BYTES: usize = 24 << 20;

/// What a shard takes beside its parts: rings, smallest buffers of connections, what the allocator keeps.
const SHARD_BYTES: usize = 16 << 20;

/// Parts that shrink are a multiple of this, so that they read well.
const STEP: usize = 1 << 20;

/// One kind of memory that every shard takes.
struct Part<'a> {
    info: Info,
    bytes: &'a mut usize,
    /// What it works with.
    least: usize,
}

fn parts(config: &mut Config) -> [Part<'_>; 4] {
    let frame = config.frame_bytes_max;
    let part = |info: Info, bytes, least: usize| {
        let bound = info.bounds.map_or(0, |(low, _)| low as usize);
        Part { info, bytes, least: least.max(bound) }
    };
    [
        part(keys::IO_MEMORY.info, &mut config.io_memory, 0),
        part(keys::REQUEST_BYTES.info, &mut config.request_bytes, frame),
        part(keys::CACHE_BYTES.info, &mut config.cache_bytes, 0),
        part(keys::COMPACTION_BYTES.info, &mut config.compaction_bytes, 0),
    ]
}

/// What the broker takes at most, as it is configured.
fn total(config: &Config) -> usize {
    let parts = [config.io_memory, config.request_bytes, config.cache_bytes, config.compaction_bytes];
    let shard = parts.into_iter().fold(SHARD_BYTES, usize::saturating_add);
    shard.saturating_mul(config.cpus.len()).saturating_add(PROCESS_BYTES)
}

/// Shrinks what nobody has set, as far as `broker.memory_limit` asks for and as far as it goes.
pub fn fit(config: &mut Config, raw: &RawConfig) {
    let Some(limit) = config.memory_limit else { return };
    let too_much = total(config).saturating_sub(limit).div_ceil(config.cpus.len().max(1));
    let is_free = |part: &Part<'_>| raw.origin_of(&[part.info.name]) == Origin::Unsaid;
    let spare = |part: &Part<'_>| part.bytes.saturating_sub(part.least);
    let mut parts = parts(config);
    let all_spare: usize = parts.iter().filter(|part| is_free(part)).map(spare).sum();
    for part in parts.iter_mut().filter(|part| is_free(part)) {
        // In proportion to what each can spare, rounded against it.
        let share = too_much as u128 * spare(part) as u128 / all_spare.max(1) as u128;
        let less = usize::try_from(share).unwrap_or(usize::MAX).next_multiple_of(STEP);
        if 0 < too_much {
            *part.bytes -= less.min(spare(part));
        }
    }
}

/// Why the limit cannot be kept, if it cannot.
pub fn excess(config: &Config) -> Option<String> {
    let limit = config.memory_limit?;
    let total = total(config);
    if total <= limit {
        return None;
    }
    let show = |bytes: usize| keys::CACHE_BYTES.info.show(bytes as u64);
    let mut parts_of = config.clone();
    let parts = parts(&mut parts_of).map(|part| format!("{} {}", part.info.name, show(*part.bytes)));
    Some(format!(
        "broker.memory_limit is {}, less than the {} that the broker takes with, for each shard, {}",
        show(limit),
        show(total.next_multiple_of(STEP)),
        parts.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::super::resolve::finish;
    use super::*;

    fn fitted(sets: &[&str]) -> Result<Config, String> {
        let mut raw = RawConfig::default();
        raw.add_set("shards.cpus=0");
        sets.iter().for_each(|set| raw.add_set(set));
        finish(raw).map_err(|error| error.problems[0].to_string())
    }

    #[test]
    fn without_a_limit_or_with_a_wide_one_nothing_shrinks() {
        let config = fitted(&[]).unwrap();
        assert_eq!((config.memory_limit, config.cache_bytes), (None, 32 << 20));
        let wide = fitted(&["broker.memory_limit=1GiB"]).unwrap();
        assert_eq!(wide, Config { memory_limit: Some(1 << 30), ..config });
    }

    #[test]
    fn parts_shrink_together_until_each_has_its_least() {
        for limit in (70..220).map(|mib| mib << 20) {
            let config = fitted(&[&format!("broker.memory_limit={limit}")]).unwrap();
            assert!(total(&config) <= limit);
            assert!(limit == 70 << 20 || limit - (8 << 20) < total(&config) || config.io_memory == 64 << 20);
            assert!(config.frame_bytes_max <= config.request_bytes && 4 << 20 <= config.io_memory);
        }
    }

    #[test]
    fn what_is_set_stays_and_what_cannot_fit_is_told() {
        let config = fitted(&["broker.memory_limit=160 MiB", "shards.cache_bytes=32 MiB"]).unwrap();
        assert_eq!(config.cache_bytes, 32 << 20);
        assert!(config.io_memory < 64 << 20 && total(&config) <= 160 << 20);
        let told = fitted(&["broker.memory_limit=160 MiB", "shards.cache_bytes=128 MiB"]).unwrap_err();
        assert_eq!(
            told,
            "--set broker.memory_limit=160 MiB: broker.memory_limit is 160 MiB, less than the 189 MiB that the \
             broker takes with, for each shard, shards.io_memory 4 MiB, shards.request_bytes 16 MiB, \
             shards.cache_bytes 128 MiB, storage.compaction_bytes 64 KiB"
        );
    }
}
