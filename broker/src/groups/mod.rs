//! Groups of consumers: who is a member, which partitions it has, how far it has read. Kafka's classic
//! protocol as a state machine without I/O.
//!
//!                    ┌───────────────────────── Coordinator ─────────────────────────┐
//!     requests ────▶ │ group id ─▶ Group { state, generation, members, offsets }     │ ──▶ Effects
//!     tick(now) ───▶ │ timers: one entry per group, moved only when it falls due     │      records, replies
//!                    └──────────────▲────────────────────────────────────────────────┘        │
//!                                   │ apply(key, value)                                       ▼
//!     __consumer_offsets, one partition ◀──────────────── append ────────────────────────── driver
//!
//! A coordinator has all groups of one partition of `__consumer_offsets` and lives on its shard.
//!
//! # The contract with the driver
//!
//!     1 call      coordinator.join(…, now, &mut effects)      decides; replies and records are in `effects`
//!     2 append    log.append(effects.records)                 one batch; nothing if there are no records
//!     3 settle    coordinator.settle(&mut effects, outcome)   before any other call
//!                   Ok      offsets and removals are applied, by the same `apply` that replay uses
//!                   Err(c)  every reply of `effects` becomes the error c; no offset was applied;
//!                           groups whose record it was rebalance, or are stored again later
//!     4 reply     once this batch and all before it are durable. Replies without records wait too: they
//!                 may tell what an earlier batch holds.
//!
//! So nothing is told that a restart does not know: a generation, an assignment, a new id of a static member,
//! an offset. What a restart does not know was not told: ids of members that have yet to join, who waits,
//! sessions. A member that left or was expelled without a new generation is back after a restart until its
//! session ends; nobody has got its partitions in between.
//!
//! A log that fails for good (not durable after the append) ends the coordinator: [`Coordinator::unload`].
//!
//! # A rebalance
//!
//!     member a      join ─────────────────┐            ┌▶ generation 2, leader a      sync [a: p0, b: p1]
//!     member b             join ──────────┤            ├▶ generation 2      sync ┐        │
//!     group      PreparingRebalance       └─ record 1 ─┘ CompletingRebalance     └────────┴─ record 2 ─ Stable
//!                                            (durable)                                       (durable)
//!
//! Record 1 has no leader and no assignments: one who reads it last has the members join again.

mod state;
pub use state::State;

mod api;
pub use api::*;

mod config;
pub use config::GroupConfig;

mod coordinator;
pub use coordinator::Coordinator;

mod settle;

mod group;
mod member;

mod rebalance;

mod join;
mod leave;
mod sync;

mod commit;
mod offsets;
mod subscription;

mod records;
pub use records::GroupRecord;

mod wire;

#[cfg(test)]
mod tests;
