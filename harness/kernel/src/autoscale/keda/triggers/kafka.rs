//! Kafka: how far a consumer group lags behind.
//!
//! Source: `pkg/scalers/kafka_scaler.go`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::KedaError;
use super::Measured;
use super::metadata::Metadata;

/// Most partitions that a limitation may list.
const PARTITION_LIMIT: usize = 1_000_000;

/// The trigger's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kafka {
    /// The consumer group.
    pub consumer_group: String,
    /// The topic; empty = every topic that the group has committed to.
    pub topic: String,
    /// Only these partitions; empty = all.
    pub partition_limitation: Vec<i32>,
    /// Target: lag a replica.
    pub lag_threshold: i64,
    /// Active above this.
    pub activation_lag_threshold: i64,
    /// What a partition without a committed offset counts as.
    pub offset_reset_policy: OffsetResetPolicy,
    /// More replicas than partitions.
    pub allow_idle_consumers: bool,
    /// A partition whose committed offset has not moved since the last poll does not count for scaling.
    pub exclude_persistent_lag: bool,
    /// A partition without a committed offset counts as nothing.
    pub scale_to_zero_on_invalid_offset: bool,
    /// No more replicas than partitions that lag.
    pub limit_to_partitions_with_lag: bool,
    /// Only numbers of replicas by which the partitions can be divided.
    pub ensure_even_distribution_of_partitions: bool,
}

/// What a partition without a committed offset counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OffsetResetPolicy {
    /// A lag of 1, so that a consumer comes and commits.
    #[default]
    Latest,
    /// All that is in it.
    Earliest,
}

/// A partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub id: i32,
    /// Offset that the group has committed; `None` = none yet.
    pub committed: Option<i64>,
    /// Offset of its end; `None` = the broker did not say.
    pub latest: Option<i64>,
}

/// Committed offsets at the last poll, by topic and partition; for [`Kafka::exclude_persistent_lag`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offsets {
    by_topic: BTreeMap<String, BTreeMap<i32, i64>>,
}

/// Lag of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lag {
    /// As far as it counts for scaling.
    pub lag: i64,
    /// As far as it counts for activity: persistent lag included.
    pub with_persistent: i64,
}

impl Kafka {
    /// Reads the settings.
    ///
    /// # Errors
    /// The first one that KEDA would refuse.
    pub fn read(metadata: &Metadata<'_>) -> Result<Self, KedaError> {
        let topic = match metadata.text("topic").or_else(|| metadata.text("topicFromEnv")) {
            Some(topic) => topic.to_string(),
            None => String::new(),
        };
        let policy = match metadata.text("offsetResetPolicy") {
            None | Some("latest") => OffsetResetPolicy::Latest,
            Some("earliest") => OffsetResetPolicy::Earliest,
            Some(_) => return Err(metadata.refuse("offsetResetPolicy", "latest or earliest")),
        };
        let read = Self {
            consumer_group: metadata.needed("consumerGroup")?,
            partition_limitation: if topic.is_empty() { Vec::new() } else { partitions(metadata)? },
            topic,
            lag_threshold: metadata.whole("lagThreshold")?.unwrap_or(10),
            activation_lag_threshold: metadata.whole("activationLagThreshold")?.unwrap_or(0),
            offset_reset_policy: policy,
            allow_idle_consumers: metadata.truth("allowIdleConsumers", false)?,
            exclude_persistent_lag: metadata.truth("excludePersistentLag", false)?,
            scale_to_zero_on_invalid_offset: metadata.truth("scaleToZeroOnInvalidOffset", false)?,
            limit_to_partitions_with_lag: metadata.truth("limitToPartitionsWithLag", false)?,
            ensure_even_distribution_of_partitions: metadata
                .truth("ensureEvenDistributionOfPartitions", false)?,
        };
        let limits = read.limit_to_partitions_with_lag;
        let evens = read.ensure_even_distribution_of_partitions;
        let full_metadata = metadata.truth("fullMetadata", true)?;
        for (key, is_refused, expected) in [
            ("lagThreshold", read.lag_threshold <= 0, "more than 0"),
            ("activationLagThreshold", read.activation_lag_threshold < 0, "at least 0"),
            (
                "allowIdleConsumers",
                read.allow_idle_consumers && limits,
                "false beside limitToPartitionsWithLag",
            ),
            ("limitToPartitionsWithLag", limits && evens, "false beside ensureEvenDistributionOfPartitions"),
            (
                "topic",
                read.topic.is_empty() && (limits || evens || !full_metadata),
                "a topic, for limitToPartitionsWithLag, ensureEvenDistributionOfPartitions and fullMetadata false",
            ),
        ] {
            if is_refused {
                return Err(metadata.refuse(key, expected));
            }
        }
        Ok(read)
    }

    /// Name of its metric, without the trigger's index.
    pub(crate) fn metric_name(&self) -> String {
        if self.topic.is_empty() {
            format!("kafka-{}-topics", self.consumer_group)
        } else {
            format!("kafka-{}", self.topic)
        }
    }

    /// Whether a partition counts.
    #[must_use]
    pub fn counts(&self, partition: &Partition) -> bool {
        (self.topic.is_empty() || partition.topic == self.topic)
            && (self.partition_limitation.is_empty() || self.partition_limitation.contains(&partition.id))
    }

    /// Lag of a partition; remembers its committed offset where persistent lag does not count.
    pub fn lag(&self, partition: &Partition, offsets: &mut Offsets) -> Lag {
        let both = |lag| Lag { lag, with_persistent: lag };
        // An offset of -1 is how the broker says that there is none.
        let committed = partition.committed.filter(|&offset| offset != -1);
        let Some(committed) = committed else {
            return match (self.scale_to_zero_on_invalid_offset, self.offset_reset_policy) {
                (true, _) => both(0),
                (false, OffsetResetPolicy::Latest) => both(1),
                (false, OffsetResetPolicy::Earliest) => both(partition.latest.unwrap_or(0)),
            };
        };
        let Some(latest) = partition.latest else { return both(0) };
        let lag = latest.saturating_sub(committed);
        if self.exclude_persistent_lag {
            let before =
                offsets.by_topic.entry(partition.topic.clone()).or_default().insert(partition.id, committed);
            if before == Some(committed) {
                return Lag { lag: 0, with_persistent: lag };
            }
        }
        both(lag)
    }

    /// What the partitions say.
    pub fn measure(&self, partitions: &[Partition], offsets: &mut Offsets) -> Measured {
        let (mut total, mut with_persistent, mut count, mut lagging) = (0_i64, 0_i64, 0_i64, 0_i64);
        // A partition whose end the broker did not say is not asked for its lag.
        let counts = |partition: &&Partition| partition.latest.is_some() && self.counts(partition);
        for partition in partitions.iter().filter(counts) {
            let lag = self.lag(partition, offsets);
            total = total.saturating_add(lag.lag);
            with_persistent = with_persistent.saturating_add(lag.with_persistent);
            count += 1;
            lagging += i64::from(lag.lag > 0);
        }
        let total = self.limit(total, count, lagging);
        Measured { value: total as f64, active: with_persistent > self.activation_lag_threshold }
    }

    /// Lag that leads to no more replicas than have something to do.
    #[must_use]
    pub fn limit(&self, total: i64, partitions: i64, lagging: i64) -> i64 {
        let evens = self.ensure_even_distribution_of_partitions;
        if self.allow_idle_consumers && !self.limit_to_partitions_with_lag && !evens {
            return total;
        }
        let threshold = self.lag_threshold.max(1);
        let total =
            if evens { even_factor(total, partitions, threshold).saturating_mul(threshold) } else { total };
        let most = if self.limit_to_partitions_with_lag { lagging } else { partitions };
        if total / threshold > most { most.saturating_mul(threshold) } else { total }
    }
}

/// The smallest divisor of `partitions` that, as a number of replicas, carries the lag; `partitions` if none does.
///
/// Numbers of partitions of more than 10^12 are not searched.
#[must_use]
pub fn even_factor(total_lag: i64, partitions: i64, lag_threshold: i64) -> i64 {
    let carries = |factor: i64| factor.saturating_mul(lag_threshold) >= total_lag;
    let mut best = partitions;
    let mut factor = 1;
    while factor <= 1_000_000 && factor * factor <= partitions {
        if partitions % factor == 0 {
            if carries(factor) {
                return factor;
            }
            if carries(partitions / factor) {
                best = best.min(partitions / factor);
            }
        }
        factor += 1;
    }
    best
}

/// `1,2,10-12`.
fn partitions(metadata: &Metadata<'_>) -> Result<Vec<i32>, KedaError> {
    let refusal = || metadata.refuse("partitionLimitation", "numbers and ranges such as 1,2,10-12");
    let mut read = Vec::new();
    let text = metadata.text("partitionLimitation").unwrap_or_default();
    if text.trim().is_empty() {
        return Ok(read);
    }
    for part in text.split(',') {
        let number = |text: &str| text.trim().parse::<i32>().map_err(|_| refusal());
        match part.split_once('-') {
            None => read.push(number(part)?),
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last)?);
                let length = usize::try_from(i64::from(last) - i64::from(first)).unwrap_or(0);
                if read.len().saturating_add(length) > PARTITION_LIMIT {
                    return Err(refusal());
                }
                read.extend(first..=last);
            }
        }
    }
    Ok(read)
}
