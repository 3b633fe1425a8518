//! The connections of one producer or one reader: one per route, made again when lost.
//!
//!     get(route) ─▶ up: the connection
//!                └▶ none yet, or lost: wanted ─▶ handle_timeout ─ ─ dial task ─ ─ ▶ handle_dialed ─▶ up, or a pause
//!
//! Producers and readers do not share them: a fetch reply of a megabyte would stand in front of an
//! acknowledgement. A pause grows until a request on the connection has been answered, so that a
//! broker which accepts and hangs up is not dialled in a loop.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::connection::Connection;
use super::jitter;
use crate::core::backoff::Backoff;
use crate::core::metadata::Route;
use crate::error::ConnectionError;

/// The result of a dial task, for `handle_dialed`.
pub(crate) struct Dialed {
    pub route: Route,
    result: Result<Connection, ConnectionError>,
}

pub(crate) struct Links {
    cluster: Arc<Cluster>,
    /// How a dial task reports; called once per dial.
    report: Arc<dyn Fn(Dialed) + Send + Sync>,
    first_pause: Duration,
    links: HashMap<Route, Link>,
}

struct Link {
    state: State,
    backoff: Backoff,
}

enum State {
    Dialing,
    Up(Connection),
    /// `wanted`: somebody asked for it since, so that it is dialled when the pause is over.
    Down {
        until: Instant,
        wanted: bool,
    },
}

impl Links {
    pub(crate) fn new(
        cluster: Arc<Cluster>,
        first_pause: Duration,
        report: Arc<dyn Fn(Dialed) + Send + Sync>,
    ) -> Links {
        Links { cluster, report, first_pause, links: HashMap::new() }
    }

    /// The connection of a route, if there is one; if not, one will be made.
    pub(crate) fn get(&mut self, route: Route, now: Instant) -> Option<Connection> {
        let first_pause = self.first_pause;
        let link = self.links.entry(route).or_insert_with(|| Link {
            state: State::Down { until: now, wanted: true },
            backoff: Backoff::new(first_pause),
        });
        match &mut link.state {
            State::Up(connection) if !connection.is_ended() => return Some(connection.clone()),
            State::Up(_) => {
                let until = now + link.backoff.next_pause(jitter());
                link.state = State::Down { until, wanted: true };
            }
            State::Down { wanted, .. } => *wanted = true,
            State::Dialing => {}
        }
        None
    }

    /// Dials what is wanted and has paused for long enough.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for (route, link) in &mut self.links {
            if !matches!(link.state, State::Down { until, wanted: true } if until <= now) {
                continue;
            }
            link.state = State::Dialing;
            let (route, cluster, report) = (*route, Arc::clone(&self.cluster), Arc::clone(&self.report));
            tokio::spawn(async move {
                let result = cluster.dial_route(route).await;
                report(Dialed { route, result });
            });
        }
    }

    /// Returns why the dial failed, if it did.
    pub(crate) fn handle_dialed(&mut self, dialed: Dialed, now: Instant) -> Option<ConnectionError> {
        let link = self.links.get_mut(&dialed.route)?;
        match dialed.result {
            Ok(connection) => {
                link.state = State::Up(connection);
                None
            }
            Err(error) => {
                let pause = link.backoff.next_pause(jitter());
                tracing::warn!(%error, ?pause, "no connection; trying again");
                link.state = State::Down { until: now + pause, wanted: true };
                Some(error)
            }
        }
    }

    /// A request on this route was answered.
    pub(crate) fn handle_answer(&mut self, route: Route) {
        if let Some(link) = self.links.get_mut(&route) {
            link.backoff.reset();
        }
    }

    /// When to call `handle_timeout`.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let pause = |link: &Link| match link.state {
            State::Down { until, wanted: true } => Some(until),
            State::Down { .. } | State::Up(_) | State::Dialing => None,
        };
        self.links.values().filter_map(pause).min()
    }

    /// Keeps the connections of these routes only.
    pub(crate) fn retain(&mut self, wanted: impl Fn(Route) -> bool) {
        self.links.retain(|route, _| wanted(*route));
    }
}
