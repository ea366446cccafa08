//! The requests that lag is found out with: who leads which partition, who coordinates the group, what the group has
//! committed, where partitions end.
//!
//! Each is asked in a version that brokers from 0.11 to 4 know and that has no compact encodings; only Metadata has two,
//! because version 4, which makes no topics, is not everywhere.
//!
//! Source: <https://kafka.apache.org/protocol#protocol_messages>.

use std::collections::BTreeMap;

use super::wire::{Malformed, Reader, Writer};

/// Key and version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) key: i16,
    pub(super) version: i16,
    pub(super) name: &'static str,
}

pub(super) const LIST_OFFSETS: Kind = Kind { key: 2, version: 1, name: "ListOffsets" };
pub(super) const METADATA: Kind = Kind { key: 3, version: 4, name: "Metadata" };
/// Before version 4 asking for a topic can make it.
pub(super) const METADATA_BEFORE: Kind = Kind { key: 3, version: 1, name: "Metadata" };
pub(super) const OFFSET_FETCH: Kind = Kind { key: 9, version: 2, name: "OffsetFetch" };
pub(super) const FIND_COORDINATOR: Kind = Kind { key: 10, version: 0, name: "FindCoordinator" };
pub(super) const SASL_HANDSHAKE: Kind = Kind { key: 17, version: 1, name: "SaslHandshake" };
pub(super) const API_VERSIONS: Kind = Kind { key: 18, version: 0, name: "ApiVersions" };
pub(super) const SASL_AUTHENTICATE: Kind = Kind { key: 36, version: 0, name: "SaslAuthenticate" };

/// The end of a partition, as a timestamp.
const NEWEST: i64 = -1;
/// No broker: a client asks.
const NO_REPLICA: i32 = -1;

/// Partitions by topic.
pub(super) type Topics = BTreeMap<String, Vec<i32>>;

/// A broker's address.
pub(super) type Address = (String, u16);

/// Where everything is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    /// Addresses by broker.
    pub(super) brokers: BTreeMap<i32, Address>,
    /// Topics in the answer's order.
    pub(super) topics: Vec<Topic>,
}

/// A topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) error: i16,
    /// Number, error and leader of each partition.
    pub(super) partitions: Vec<(i32, i16, i32)>,
}

/// An offset of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offset {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) error: i16,
    pub(super) offset: i64,
}

/// The oldest and the newest version that a broker knows of each request, by the request's key.
pub(super) type Versions = BTreeMap<i16, (i16, i16)>;

/// The error of the answer, and what the broker knows.
pub(super) fn read_versions(reader: &mut Reader<'_>) -> Result<(i16, Versions), Malformed> {
    let error = reader.int16()?;
    let known = reader.array(|reader| Ok((reader.int16()?, (reader.int16()?, reader.int16()?))))?;
    Ok((error, known.into_iter().collect()))
}

pub(super) fn metadata(kind: Kind, topics: &[String]) -> Writer {
    let asked = Writer::default().array(topics, |to, topic| to.string(topic));
    // Whether topics may be made that are not there.
    if kind == METADATA { asked.int8(0) } else { asked }
}

pub(super) fn read_metadata(kind: Kind, reader: &mut Reader<'_>) -> Result<Metadata, Malformed> {
    let is_later = kind == METADATA;
    if is_later {
        reader.int32()?; // throttle time
    }
    let brokers = reader.array(|reader| {
        let (id, host, port) = (reader.int32()?, reader.string()?, reader.int32()?);
        reader.string()?; // rack
        Ok((id, (host, u16::try_from(port).map_err(|_| Malformed)?)))
    })?;
    if is_later {
        reader.string()?; // name of the cluster
    }
    reader.int32()?; // controller
    let topics = reader.array(|reader| {
        let (error, name) = (reader.int16()?, reader.string()?);
        reader.int8()?; // whether it is Kafka's own
        let partitions = reader.array(|reader| {
            let (error, id, leader) = (reader.int16()?, reader.int32()?, reader.int32()?);
            reader.array(Reader::int32)?; // replicas
            reader.array(Reader::int32)?; // those in sync
            Ok((id, error, leader))
        })?;
        Ok(Topic { name, error, partitions })
    })?;
    Ok(Metadata { brokers: brokers.into_iter().collect(), topics })
}

pub(super) fn find_coordinator(group: &str) -> Writer {
    Writer::default().string(group)
}

/// Error and address.
pub(super) fn read_coordinator(reader: &mut Reader<'_>) -> Result<(i16, Address), Malformed> {
    let error = reader.int16()?;
    reader.int32()?; // broker
    let (host, port) = (reader.string()?, reader.int32()?);
    // With an error there is no address: port -1.
    Ok((error, (host, u16::try_from(port).unwrap_or(0))))
}

/// Without topics: everything that the group has committed.
pub(super) fn offset_fetch(group: &str, topics: Option<&Topics>) -> Writer {
    let asked = Writer::default().string(group);
    match topics {
        None => asked.int32(-1),
        Some(topics) => write_topics(asked, topics, |to, partition| to.int32(partition)),
    }
}

/// Committed offsets, and the group's error.
pub(super) fn read_committed(reader: &mut Reader<'_>) -> Result<(i16, Vec<Offset>), Malformed> {
    let offsets = read_topics(reader, |reader| {
        let (partition, offset) = (reader.int32()?, reader.int64()?);
        reader.string()?; // metadata
        Ok((partition, reader.int16()?, offset))
    })?;
    Ok((reader.int16()?, offsets))
}

pub(super) fn list_offsets(topics: &Topics) -> Writer {
    let asked = Writer::default().int32(NO_REPLICA);
    write_topics(asked, topics, |to, partition| to.int32(partition).int64(NEWEST))
}

pub(super) fn read_ends(reader: &mut Reader<'_>) -> Result<Vec<Offset>, Malformed> {
    read_topics(reader, |reader| {
        let (partition, error) = (reader.int32()?, reader.int16()?);
        reader.int64()?; // timestamp
        Ok((partition, error, reader.int64()?))
    })
}

fn write_topics(to: Writer, topics: &Topics, write: impl Fn(Writer, i32) -> Writer) -> Writer {
    let topics: Vec<(&String, &Vec<i32>)> = topics.iter().collect();
    to.array(&topics, |to, (topic, partitions)| {
        to.string(topic).array(partitions, |to, partition| write(to, *partition))
    })
}

fn read_topics(
    reader: &mut Reader<'_>,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<(i32, i16, i64), Malformed>,
) -> Result<Vec<Offset>, Malformed> {
    let topics = reader.array(|reader| {
        let topic = reader.string()?;
        let partitions = reader.array(&mut read)?;
        let offset = |(partition, error, offset)| Offset { topic: topic.clone(), partition, error, offset };
        Ok(partitions.into_iter().map(offset).collect::<Vec<_>>())
    })?;
    Ok(topics.into_iter().flatten().collect())
}

/// An error code in words, with a remedy where a user has one.
///
/// Source: <https://kafka.apache.org/protocol#protocol_error_codes>.
pub(super) fn words(code: i16) -> String {
    let known = match code {
        3 => "UNKNOWN_TOPIC_OR_PARTITION: no such topic, or no right to see it",
        5 => "LEADER_NOT_AVAILABLE: a leader is being chosen",
        6 => "NOT_LEADER_OR_FOLLOWER: the partition has moved",
        14 => "COORDINATOR_LOAD_IN_PROGRESS: the group's coordinator is starting",
        15 => "COORDINATOR_NOT_AVAILABLE: the group has no coordinator yet",
        16 => "NOT_COORDINATOR: the group has moved to another broker",
        17 => "INVALID_TOPIC_EXCEPTION: no topic can have this name",
        24 => "INVALID_GROUP_ID: no consumer group can have this name",
        29 => "TOPIC_AUTHORIZATION_FAILED: the user may not describe the topic",
        30 => "GROUP_AUTHORIZATION_FAILED: the user may not describe the consumer group",
        31 => "CLUSTER_AUTHORIZATION_FAILED: the user may not describe the cluster",
        33 => "UNSUPPORTED_SASL_MECHANISM",
        34 => "ILLEGAL_SASL_STATE: the listener wants no SASL, set sasl to none",
        35 => "UNSUPPORTED_VERSION",
        58 => "SASL_AUTHENTICATION_FAILED: user or password are wrong",
        _ => return format!("error {code}"),
    };
    known.to_owned()
}

/// Whether the same question soon may be answered: something in the cluster is moving.
pub(super) fn is_passing(code: i16) -> bool {
    matches!(code, 5 | 6 | 14 | 15 | 16)
}
