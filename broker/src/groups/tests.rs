//! Stories of groups, each named by its rule; and a model that tells random ones.
//!
//!     story ──▶ Coordinator ──▶ effects ──▶ log (a Vec), unless it refuses ──▶ replies by request
//!                  ▲ time passes from deadline to deadline                        restart: replay of the log

mod fixture;

mod commits;
mod joins;
mod members;
mod restarts;

mod limits;

mod measure;
mod model;
