//! The topic of a run: made if it is not there, deleted if it was made.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use ringlog_client::{Admin, ErrorCode, OffsetSpec, TopicSpec};

use super::control::Ends;
use crate::flags::Flags;

#[derive(Debug)]
pub struct Topic {
    pub name: String,
    pub partitions: u32,
    /// Whether this run made it, and so may delete it.
    pub is_ours: bool,
}

impl Topic {
    /// Finds the topic or makes it.
    pub async fn ensure(admin: &Admin, flags: &Flags) -> Result<Topic> {
        let name = flags.topic.clone();
        match admin.describe_topic(&name).await {
            Ok(topic) => {
                let partitions = u32::try_from(topic.partitions.len())?;
                if partitions != flags.partitions && flags.partitions != 1 {
                    bail!("topic {name} exists with {partitions} partitions, not {}", flags.partitions);
                }
                Ok(Topic { name, partitions, is_ours: false })
            }
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {
                let mut spec = TopicSpec::new(&name).partitions(flags.partitions);
                for (key, value) in flags.topic_configs() {
                    spec = spec.config(key, value);
                }
                admin.create_topic(spec).await.with_context(|| format!("cannot make topic {name}"))?;
                Ok(Topic { name, partitions: flags.partitions, is_ours: true })
            }
            Err(error) => Err(error).with_context(|| format!("cannot look up topic {name}")),
        }
    }

    /// By partition, the offset behind the last record that a consumer may see now.
    pub async fn ends(&self, admin: &Admin) -> Result<Ends> {
        self.offsets(admin, OffsetSpec::Latest).await
    }

    /// The same when nothing is acknowledged and records may still be on their way: once they rest.
    pub async fn resting_ends(&self, admin: &Admin) -> Result<Ends> {
        let mut ends = self.ends(admin).await?;
        let mut same = 0;
        while same < RESTING_LOOKS {
            tokio::time::sleep(RESTING_PAUSE).await;
            let now = self.ends(admin).await?;
            same = if now == ends { same + 1 } else { 0 };
            ends = now;
        }
        Ok(ends)
    }

    /// By partition, the first offset there is.
    pub async fn starts(&self, admin: &Admin) -> Result<Ends> {
        self.offsets(admin, OffsetSpec::Earliest).await
    }

    /// Records in the topic now.
    pub async fn record_count(&self, admin: &Admin) -> Result<u64> {
        let starts = self.starts(admin).await?;
        let ends = self.ends(admin).await?;
        Ok(ends.iter().zip(starts.iter()).map(|(end, start)| end.saturating_sub(*start)).sum())
    }

    async fn offsets(&self, admin: &Admin, spec: OffsetSpec) -> Result<Ends> {
        let listed = admin.list_topic_offsets(&self.name, spec).await;
        let listed = listed.with_context(|| format!("cannot ask where {} ends", self.name))?;
        let offsets: Vec<u64> =
            listed.iter().map(|listed| listed.offset.map_or(0, |offset| offset.get())).collect();
        Ok(offsets.into())
    }
}

const RESTING_LOOKS: u32 = 5;
const RESTING_PAUSE: Duration = Duration::from_millis(100);
