//! The way to a broker that all client verbs share.

use std::future::Future;

use ringlog_client::{AdminError, Client};

use crate::exit::{Exit, Failure};

#[derive(clap::Args)]
pub struct Connect {
    /// Where to find the cluster: host:port, or several with commas between
    #[arg(long, env = "RINGLOG_BOOTSTRAP", default_value = "127.0.0.1:7070", value_name = "HOST:PORT")]
    pub bootstrap: String,
}

impl Connect {
    /// Runs a verb with a client, to its end.
    pub fn run<F>(&self, verb: impl FnOnce(Client) -> F) -> Result<(), Failure>
    where
        F: Future<Output = Result<(), Failure>>,
    {
        // Two threads: sockets on one, the verb's own work on the other.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Exit::Error, format!("cannot start the client: {error}")))?;
        let done = runtime.block_on(async {
            let client =
                Client::builder().bootstrap(&self.bootstrap).client_id("ringlog-cli").build().await?;
            verb(client).await
        });
        // A thread may sit in a read of stdin that never ends.
        runtime.shutdown_background();
        done
    }
}

/// The failure for a request about `topic`; for a topic that does not exist, with the nearest that does.
pub async fn about_topic(client: &Client, topic: &str, error: AdminError) -> Failure {
    let unknown = matches!(error, AdminError::UnknownTopic { .. });
    let failure = Failure::from(error);
    if !unknown {
        return failure;
    }
    // If even the list cannot be had, the first error is the one to tell.
    let topics = client.admin().list_topics().await.unwrap_or_default();
    let names: Vec<&str> = topics.iter().map(|known| known.name.as_str()).collect();
    failure.with_next(match nearest(topic, &names) {
        Some(near) => format!("did you mean {near:?}? `ringlog topic list` shows all"),
        None => format!("`ringlog topic create {topic}` makes it, `ringlog topic list` shows what there is"),
    })
}

/// The failure for a request about `group`; for a group that does not exist, with the nearest that does.
pub async fn about_group(client: &Client, group: &str, error: AdminError) -> Failure {
    let next = match &error {
        AdminError::UnknownGroup { .. } => unknown_group(client, group).await,
        AdminError::GroupNotEmpty { .. } => format!(
            "`ringlog group describe {group}` shows its members; stop them, or send them away with \
             `ringlog group remove-member`"
        ),
        _ => return error.into(),
    };
    Failure::from(error).with_next(next)
}

/// What to do about a group that does not exist.
pub async fn unknown_group(client: &Client, group: &str) -> String {
    let groups = client.admin().list_groups(&[]).await.unwrap_or_default();
    let names: Vec<&str> = groups.iter().map(|known| known.group.as_str()).collect();
    match nearest(group, &names) {
        Some(near) => format!("did you mean {near:?}? `ringlog group list` shows all"),
        None => "`ringlog group list` shows what there is".to_owned(),
    }
}

fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |known: &str| strsim::osa_distance(&name.to_lowercase(), &known.to_lowercase());
    let (distance, near) = known.iter().map(|known| (distance(known), *known)).min()?;
    (distance <= 2.max(name.len() / 4)).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_topic_finds_its_neighbour() {
        let known = ["orders", "payments", "orders-dlq"];
        assert_eq!(nearest("ordres", &known), Some("orders"));
        assert_eq!(nearest("Payment", &known), Some("payments"));
        assert_eq!(nearest("users", &known), None);
        assert_eq!(nearest("orders", &[]), None);
    }
}
