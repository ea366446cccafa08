//! Answers of brokers, and what follows from them. The bytes follow from the protocol's description by hand.

use windtunnel_kernel::autoscale::keda::triggers::metadata::Metadata as Settings;

use super::wire::{Malformed, Reader};
use super::*;

fn kafka(metadata: &[(&str, &str)]) -> Kafka {
    let all = [("consumerGroup", "g"), ("topic", "t")].iter().chain(metadata);
    let metadata = all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Kafka::read(&Settings::new(0, &metadata)).expect("settings")
}

/// Metadata of one broker `h:9092` with topic `t` of two partitions.
fn described(is_later: bool, topic_error: u8, partition_error: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    if is_later {
        bytes.extend([0, 0, 0, 0]); // throttle time
    }
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 7, 0, 1, b'h', 0, 0, 0x23, 0x84, 0xff, 0xff]); // broker 7, no rack
    if is_later {
        bytes.extend([0, 1, b'c']); // name of the cluster
    }
    bytes.extend([0, 0, 0, 7]); // controller
    bytes.extend([0, 0, 0, 1, 0, topic_error, 0, 1, b't', 0]); // topic
    bytes.extend([0, 0, 0, 2]);
    for id in [0, 1] {
        bytes.extend([0, partition_error, 0, 0, 0, id, 0, 0, 0, 7]); // partition with its leader
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 7]); // replicas, in sync
    }
    bytes
}

fn metadata(topic_error: u8, partition_error: u8) -> Metadata {
    let bytes = described(true, topic_error, partition_error);
    messages::read_metadata(METADATA, &mut Reader::new(&bytes)).expect("metadata")
}

/// No leader would be found, in clusters of one age.
#[test]
fn metadata_of_both_versions() {
    let expected = Metadata {
        brokers: BTreeMap::from([(7, ("h".to_owned(), 9092))]),
        topics: vec![messages::Topic {
            name: "t".to_owned(),
            error: 0,
            partitions: vec![(0, 0, 7), (1, 0, 7)],
        }],
    };
    assert_eq!(metadata(0, 0), expected);
    let before = described(false, 0, 0);
    assert_eq!(messages::read_metadata(METADATA_BEFORE, &mut Reader::new(&before)), Ok(expected));
    for cut in 0..before.len() {
        let read = messages::read_metadata(METADATA_BEFORE, &mut Reader::new(&before[..cut]));
        assert_eq!(read, Err(Malformed), "{cut} bytes");
    }
    // Whether the topic may be made if it is not there: no.
    let asked = messages::metadata(METADATA, &["t".to_owned()]).request(3, 4, 1, "w");
    assert_eq!(asked[asked.len() - 8..], [0, 0, 0, 1, 0, 1, b't', 0]);
}

/// Lag of partitions that other consumers look after would count.
#[test]
fn partitions_by_leader() {
    let leads =
        |partitions: &[i32]| BTreeMap::from([(7, Topics::from([("t".to_owned(), partitions.to_vec())]))]);
    let found = |settings: &Kafka, metadata: &Metadata| match leaders(settings, metadata) {
        Ok((_, by_leader)) => Ok(by_leader),
        Err(Fault::Passing(why)) => Err((true, why)),
        Err(Fault::Lasting(why)) => Err((false, why)),
    };
    assert_eq!(found(&kafka(&[]), &metadata(0, 0)), Ok(leads(&[0, 1])));
    assert_eq!(found(&kafka(&[("partitionLimitation", "1-5")]), &metadata(0, 0)), Ok(leads(&[1])));
    assert_eq!(found(&kafka(&[]), &metadata(0, 9)), Ok(leads(&[0, 1])), "a replica is missing");
    let none = "expected at least one active partition within the topic 't'";
    assert_eq!(
        found(&kafka(&[("partitionLimitation", "8")]), &metadata(0, 0)),
        Err((false, none.to_owned()))
    );
    let (passes, why) = found(&kafka(&[]), &metadata(3, 0)).expect_err("no such topic");
    assert!(!passes && why.contains("UNKNOWN_TOPIC_OR_PARTITION"), "{why}");
    let (passes, why) = found(&kafka(&[]), &metadata(0, 5)).expect_err("no leader");
    assert!(passes && why.contains("partition 0: LEADER_NOT_AVAILABLE"), "{why}");
}

/// A group that has not committed yet would count as one that has read everything.
#[test]
fn offsets_are_put_together() {
    let topics = Topics::from([("t".to_owned(), vec![0, 1, 2])]);
    let offset = |partition, offset, error| Offset { topic: "t".to_owned(), partition, error, offset };
    let committed = [offset(0, 5, 0), offset(1, -1, 0), offset(2, 0, 0)];
    let ends = [offset(0, 9, 0), offset(1, 4, 0)];
    let expected = |id, committed, latest| Partition { topic: "t".to_owned(), id, committed, latest };
    assert_eq!(
        together(&topics, &committed, &ends),
        Ok(vec![expected(0, Some(5), Some(9)), expected(1, None, Some(4)), expected(2, Some(0), None)])
    );
    let error = together(&topics, &committed[..2], &ends).expect_err("a partition without an answer");
    assert_eq!(error, "error finding offset block for topic t and partition 2");
    let refused = [offset(0, -1, 30), committed[1].clone(), committed[2].clone()];
    let error = together(&topics, &refused, &ends).expect_err("refused");
    assert!(error.contains("GROUP_AUTHORIZATION_FAILED"), "{error}");
}

/// A password would be sent to a listener that wants none, or none where one is wanted.
#[test]
fn access_is_read() {
    let of = |metadata: &[(&str, &str)], secrets: &[(&str, &str)]| {
        access(&Parameters::of(metadata, secrets)).map(|access| (access.tls.is_some(), access.sasl))
    };
    let user = [("username", "u"), ("password", "p")];
    let with = |mechanism| Some((mechanism, "u".to_owned(), "p".to_owned()));
    assert_eq!(of(&[], &[]), Ok((false, None)));
    assert_eq!(of(&[("tls", "enable"), ("sasl", "none")], &user), Ok((true, None)));
    assert_eq!(of(&[("sasl", "plaintext")], &user), Ok((false, with(Mechanism::Plain))));
    let secret = [("sasl", "scram_sha512"), ("tls", "enable"), ("username", "u"), ("password", "p")];
    assert_eq!(of(&[], &secret), Ok((true, with(Mechanism::ScramSha512))));
    for (metadata, secrets, part) in [
        (&[("sasl", "plaintext")][..], &user[..1], "no password given"),
        (&[("sasl", "oauthbearer")], &user, "oauthbearer is not supported"),
        (&[("sasl", "digest")], &user, "is not allowed"),
        (&[("tls", "yes")], &[], "expected enable or disable"),
        (&[("tls", "enable")], &[("cert", "c")], "key must be provided with cert"),
        (&[("tls", "enable")], &[("keyPassword", "x")], "keyPassword is not supported"),
    ] {
        let error = of(metadata, secrets).expect_err(part);
        assert!(error.contains(part), "{error}");
    }
    let servers = |text: &str| super::servers(&Parameters::of(&[("bootstrapServers", text)], &[]));
    assert_eq!(servers("a:1, b:2"), Ok(vec![("a".to_owned(), 1), ("b".to_owned(), 2)]));
    assert!(servers("a").expect_err("no port").contains("expected HOST:PORT"));
}
