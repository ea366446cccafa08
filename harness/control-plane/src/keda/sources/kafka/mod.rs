//! Kafka: what a consumer group has committed, and where its partitions end.
//!
//! Every poll asks anew: a broker of the list for the topic's leaders and the group's coordinator, the coordinator for what
//! the group has committed, each leader for the ends of its partitions. So a cluster may move between two polls. The protocol
//! is spoken here directly: it takes five kinds of requests, each in a version that brokers from 0.11 to 4 know.
//!
//! Source: `pkg/scalers/kafka_scaler.go`.

mod broker;
mod messages;
mod sasl;
mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use windtunnel_kernel::autoscale::keda::triggers::kafka::{Kafka, Partition};

use self::broker::{Access, Broker};
use self::messages::{
    Address, FIND_COORDINATOR, LIST_OFFSETS, METADATA, METADATA_BEFORE, Metadata, OFFSET_FETCH, Offset,
    Topics, is_passing, words,
};
use self::sasl::Mechanism;
use super::authentication::Parameters;
use super::tls::{Tls, host_and_port};

/// Wait before asking again while the cluster moves, as upstream's client does.
const PASSING: Duration = Duration::from_millis(250);
/// How often it asks again.
const AGAIN: usize = 3;

/// Why a question has no answer.
enum Fault {
    /// Soon there may be one.
    Passing(String),
    /// Somebody has to do something.
    Lasting(String),
}

impl From<String> for Fault {
    fn from(why: String) -> Self {
        Self::Lasting(why)
    }
}

fn fault(broker: &Broker, kind: messages::Kind, code: i16) -> Fault {
    let why = broker.refused(kind, code);
    if is_passing(code) { Fault::Passing(why) } else { Fault::Lasting(why) }
}

/// The partitions of the topic, or of all topics that the group has committed to.
///
/// # Errors
/// Why there is no answer.
pub(super) async fn ask(settings: &Kafka, parameters: &Parameters) -> Result<Vec<Partition>, String> {
    let servers = servers(parameters)?;
    let access = access(parameters)?;
    let mut attempt = 0;
    loop {
        match partitions(settings, &servers, &access).await {
            Ok(partitions) => return Ok(partitions),
            Err(Fault::Passing(_)) if attempt < AGAIN => {
                attempt += 1;
                tokio::time::sleep(PASSING).await;
            }
            Err(Fault::Passing(why) | Fault::Lasting(why)) => return Err(why),
        }
    }
}

async fn partitions(settings: &Kafka, servers: &[Address], access: &Access) -> Result<Vec<Partition>, Fault> {
    let mut bootstrap = first(servers, access).await?;
    let group = &settings.consumer_group;
    let read = messages::read_coordinator;
    let (error, coordinator) =
        bootstrap.ask(FIND_COORDINATOR, messages::find_coordinator(group), read).await?;
    if error != 0 {
        return Err(fault(&bootstrap, FIND_COORDINATOR, error));
    }
    let mut coordinator = Broker::open(&coordinator, access).await?;
    let names = if settings.topic.is_empty() {
        let mut names: Vec<String> =
            committed(&mut coordinator, group, None).await?.into_iter().map(|found| found.topic).collect();
        names.dedup();
        names
    } else {
        vec![settings.topic.clone()]
    };
    if names.is_empty() {
        // The group has never committed anything.
        return Ok(Vec::new());
    }
    let metadata = describe(&mut bootstrap, &names).await?;
    let (topics, leaders) = leaders(settings, &metadata)?;
    let committed = committed(&mut coordinator, group, Some(&topics));
    let ends = leaders.iter().map(|(leader, topics)| ends(&metadata, *leader, topics, access));
    let (committed, ends) = tokio::join!(committed, futures::future::join_all(ends));
    let ends: Vec<Offset> =
        ends.into_iter().collect::<Result<Vec<_>, Fault>>()?.into_iter().flatten().collect();
    Ok(together(&topics, &committed?, &ends)?)
}

/// The first server of the list that answers.
async fn first(servers: &[Address], access: &Access) -> Result<Broker, String> {
    let mut last = String::new();
    for server in servers {
        match Broker::open(server, access).await {
            Ok(broker) => return Ok(broker),
            Err(why) => last = why,
        }
    }
    Err(format!("no broker of bootstrapServers can be used: {last}"))
}

async fn describe(bootstrap: &mut Broker, names: &[String]) -> Result<Metadata, Fault> {
    let kind = if bootstrap.knows(METADATA).await? { METADATA } else { METADATA_BEFORE };
    let read = |reader: &mut wire::Reader<'_>| messages::read_metadata(kind, reader);
    Ok(bootstrap.ask(kind, messages::metadata(kind, names), read).await?)
}

/// The partitions to look at, all together and by their leaders.
fn leaders(settings: &Kafka, metadata: &Metadata) -> Result<(Topics, BTreeMap<i32, Topics>), Fault> {
    let passing = |code: i16, why: String| {
        if is_passing(code) { Fault::Passing(why) } else { Fault::Lasting(why) }
    };
    let (mut all, mut by_leader) = (Topics::new(), BTreeMap::<i32, Topics>::new());
    for topic in &metadata.topics {
        if topic.error != 0 {
            let why = format!("error describing topics: {:?}: {}", topic.name, words(topic.error));
            return Err(passing(topic.error, why));
        }
        let counts =
            |id: i32| settings.counts(&Partition { topic: topic.name.clone(), id, ..Partition::default() });
        for (id, error, leader) in topic.partitions.iter().filter(|(id, ..)| counts(*id)) {
            // Replicas that are missing (9) do no harm: the leader answers.
            if !matches!(error, 0 | 9) {
                let why = format!("{:?} partition {id}: {}", topic.name, words(*error));
                return Err(passing(*error, why));
            }
            all.entry(topic.name.clone()).or_default().push(*id);
            by_leader.entry(*leader).or_default().entry(topic.name.clone()).or_default().push(*id);
        }
        if !all.contains_key(&topic.name) {
            let why = format!("expected at least one active partition within the topic '{}'", topic.name);
            return Err(Fault::Lasting(why));
        }
    }
    Ok((all, by_leader))
}

async fn committed(
    coordinator: &mut Broker,
    group: &str,
    topics: Option<&Topics>,
) -> Result<Vec<Offset>, Fault> {
    let asked = messages::offset_fetch(group, topics);
    let (error, offsets) = coordinator.ask(OFFSET_FETCH, asked, messages::read_committed).await?;
    if error != 0 {
        return Err(fault(coordinator, OFFSET_FETCH, error));
    }
    Ok(offsets)
}

/// Ends of the partitions that one broker leads.
async fn ends(
    metadata: &Metadata,
    leader: i32,
    topics: &Topics,
    access: &Access,
) -> Result<Vec<Offset>, Fault> {
    let address = metadata.brokers.get(&leader);
    let address =
        address.ok_or_else(|| Fault::Passing(format!("broker {leader} leads, and is not there")))?;
    let mut broker = Broker::open(address, access).await?;
    let ends = broker.ask(LIST_OFFSETS, messages::list_offsets(topics), messages::read_ends).await?;
    match ends.iter().find(|end| end.error != 0) {
        Some(end) => Err(fault(&broker, LIST_OFFSETS, end.error)),
        None => Ok(ends),
    }
}

/// What the coordinator and the leaders say about each partition.
fn together(topics: &Topics, committed: &[Offset], ends: &[Offset]) -> Result<Vec<Partition>, String> {
    let of = |offsets: &[Offset]| -> BTreeMap<(String, i32), (i16, i64)> {
        let entry = |found: &Offset| ((found.topic.clone(), found.partition), (found.error, found.offset));
        offsets.iter().map(entry).collect()
    };
    let (committed, ends) = (of(committed), of(ends));
    let all = topics.iter().flat_map(|(topic, ids)| ids.iter().map(move |id| (topic.clone(), *id)));
    all.map(|key| {
        let (topic, id) = key.clone();
        let missing = || format!("error finding offset block for topic {topic} and partition {id}");
        let (error, offset) = committed.get(&key).copied().ok_or_else(missing)?;
        if error != 0 {
            return Err(format!("{}: {}", missing(), words(error)));
        }
        let latest = ends.get(&key).map(|(_, offset)| *offset);
        // -1 says that nothing is committed.
        Ok(Partition { topic, id, committed: (offset >= 0).then_some(offset), latest })
    })
    .collect()
}

/// `HOST:PORT,HOST:PORT`.
fn servers(parameters: &Parameters) -> Result<Vec<Address>, String> {
    let text = parameters.written("bootstrapServers").ok_or("no bootstrapServers given")?;
    let server = |text: &str| {
        let found = host_and_port(text.trim()).map(|(host, port)| (host.to_owned(), port));
        found.ok_or_else(|| format!("bootstrapServers: {text:?} is not allowed, expected HOST:PORT"))
    };
    text.split(',').map(server).collect()
}

fn access(parameters: &Parameters) -> Result<Access, String> {
    let tls = match parameters.any("tls").unwrap_or("disable") {
        "enable" => Some(Tls::of(parameters, "ca", "cert", "key")?),
        "disable" => None,
        other => return Err(format!("tls: {other:?} is not allowed, expected enable or disable")),
    };
    let mechanism = match parameters.any("sasl").unwrap_or("none") {
        "none" => return Ok(Access { tls, sasl: None }),
        "plaintext" => Mechanism::Plain,
        "scram_sha256" => Mechanism::ScramSha256,
        "scram_sha512" => Mechanism::ScramSha512,
        other @ ("oauthbearer" | "gssapi") => {
            return Err(format!(
                "sasl: {other} is not supported, expected none, plaintext, scram_sha256 or scram_sha512; a listener with \
                 SCRAM can stand beside the other one, or use prometheus with the lag that an exporter measures"
            ));
        }
        other => {
            return Err(format!(
                "sasl: {other:?} is not allowed, expected none, plaintext, scram_sha256 or scram_sha512"
            ));
        }
    };
    let needed = |key: &str| parameters.secret(key).map(ToOwned::to_owned).ok_or(format!("no {key} given"));
    Ok(Access { tls, sasl: Some((mechanism, needed("username")?, needed("password")?)) })
}

#[cfg(test)]
mod tests;
