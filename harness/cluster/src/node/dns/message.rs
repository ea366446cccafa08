//! Messages of the domain name system (RFC 1035, with the sizes of RFC 6891): reading queries, writing answers.

use std::net::Ipv4Addr;

/// Types of records that are asked for.
pub(super) const A: u16 = 1;
pub(super) const CNAME: u16 = 5;
const SOA: u16 = 6;
pub(super) const PTR: u16 = 12;
pub(super) const SRV: u16 = 33;
pub(super) const ANY: u16 = 255;
const OPT: u16 = 41;
const INTERNET: u16 = 1;

const HEADER_BYTES: usize = 12;
/// What every client takes by UDP.
const SMALLEST_UDP: usize = 512;
/// What is sent by UDP at most: it fits the frames of all networks.
const LARGEST_UDP: usize = 1232;
/// Links in one name; a longer chain is a loop.
const POINTERS: u32 = 32;
/// How long answers may be kept, in seconds: Services come and go.
const TTL_S: u32 = 5;

const RESPONSE: u16 = 0x8000;
const OPERATION: u16 = 0x7800;
const AUTHORITATIVE: u16 = 0x0400;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;

/// How a query went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Code {
    /// There is such a name, with or without records of the type.
    NoError = 0,
    /// The query can't be read.
    FormatError = 1,
    /// Somebody else, who was asked, did not answer.
    ServerFailure = 2,
    /// There is no such name.
    NoSuchName = 3,
    /// The kind of query is not known here.
    NotImplemented = 4,
}

/// A query that has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    id: u16,
    flags: u16,
    /// The question as it was sent, to be sent back.
    question: Vec<u8>,
    /// Labels of the name in small letters.
    pub(super) name: Vec<String>,
    pub(super) kind: u16,
    /// Bytes that the client takes by UDP.
    pub(super) udp_limit: usize,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Data {
    Address(Ipv4Addr),
    Alias(String),
    Pointer(String),
    Service { port: u16, target: String },
}

/// A record: the name that it belongs to, without a dot at the end, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) data: Data,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) code: Code,
    pub(super) records: Vec<Record>,
    /// Addresses of the names in `records`.
    pub(super) additional: Vec<Record>,
}

impl Answer {
    pub(super) fn empty(code: Code) -> Self {
        Self { code, records: Vec::new(), additional: Vec::new() }
    }

    pub(super) fn of(records: Vec<Record>) -> Self {
        Self { records, ..Self::empty(Code::NoError) }
    }
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// The answer to what is no query of one name of the Internet; `None` where nothing is to be answered.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Option<Vec<u8>>> {
        let (Some(id), Some(flags)) = (word(bytes, 0), word(bytes, 2)) else { return Err(None) };
        if flags & RESPONSE != 0 {
            return Err(None);
        }
        let refuse = |code: Code| Some(header(id, flags, code, [0; 4]));
        if flags & OPERATION != 0 {
            return Err(refuse(Code::NotImplemented));
        }
        let parsed = (|| {
            let counts = [word(bytes, 4)?, word(bytes, 6)?, word(bytes, 8)?, word(bytes, 10)?];
            let (name, end) = name(bytes, HEADER_BYTES)?;
            let (kind, class) = (word(bytes, end)?, word(bytes, end + 2)?);
            (counts[0] == 1).then_some((counts, name, kind, class, end + 4))
        })();
        let Some((counts, name, kind, class, end)) = parsed else { return Err(refuse(Code::FormatError)) };
        if class != INTERNET {
            return Err(refuse(Code::NotImplemented));
        }
        let others = u32::from(counts[1]) + u32::from(counts[2]) + u32::from(counts[3]);
        let udp_limit = payload(bytes, end, others).unwrap_or(SMALLEST_UDP);
        let question = bytes[HEADER_BYTES..end].to_vec();
        let udp_limit = udp_limit.clamp(SMALLEST_UDP, LARGEST_UDP);
        Ok(Self { id, flags: flags & RECURSION_DESIRED, question, name, kind, udp_limit })
    }

    /// Another query, for the addresses of a name.
    pub(super) fn for_addresses(id: u16, of: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [id, RECURSION_DESIRED, 1, 0, 0, 0] {
            put(&mut bytes, number);
        }
        put_name(&mut bytes, of);
        put(&mut bytes, A);
        put(&mut bytes, INTERNET);
        bytes
    }

    /// The answer in bytes; one that is longer than `limit` says so instead.
    pub(super) fn answer(&self, answer: &Answer, limit: usize) -> Vec<u8> {
        let authority = answer.records.is_empty() && matches!(answer.code, Code::NoError | Code::NoSuchName);
        let count = |records: &[Record]| u16::try_from(records.len()).unwrap_or(u16::MAX);
        let counts = [1, count(&answer.records), u16::from(authority), count(&answer.additional)];
        let mut bytes = header(self.id, self.flags, answer.code, counts);
        bytes.extend_from_slice(&self.question);
        for record in &answer.records {
            put_record(&mut bytes, record);
        }
        if authority {
            put_authority(&mut bytes);
        }
        for record in &answer.additional {
            put_record(&mut bytes, record);
        }
        if bytes.len() <= limit {
            return bytes;
        }
        let mut short = header(self.id, self.flags | TRUNCATED, answer.code, [1, 0, 0, 0]);
        short.extend_from_slice(&self.question);
        short
    }
}

/// The addresses in an answer of somebody else.
pub(super) fn addresses(bytes: &[u8]) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let _: Option<()> = (|| {
        let (questions, answers) = (word(bytes, 4)?, word(bytes, 6)?);
        let mut at = HEADER_BYTES;
        for _ in 0..questions {
            at = name(bytes, at)?.1 + 4;
        }
        for _ in 0..answers {
            let start = name(bytes, at)?.1;
            let (kind, length) = (word(bytes, start)?, usize::from(word(bytes, start + 8)?));
            let data = bytes.get(start + 10..start + 10 + length)?;
            if let (A, Ok(octets)) = (kind, <[u8; 4]>::try_from(data)) {
                found.push(Ipv4Addr::from(octets));
            }
            at = start + 10 + length;
        }
        Some(())
    })();
    found
}

/// What the client takes by UDP, from its OPT record.
fn payload(bytes: &[u8], mut at: usize, records: u32) -> Option<usize> {
    for _ in 0..records {
        let start = name(bytes, at)?.1;
        if word(bytes, start)? == OPT {
            return word(bytes, start + 2).map(usize::from);
        }
        at = start + 10 + usize::from(word(bytes, start + 8)?);
    }
    None
}

/// A name's labels, and where it ends.
fn name(bytes: &[u8], mut at: usize) -> Option<(Vec<String>, usize)> {
    let (mut labels, mut end, mut pointers, mut length) = (Vec::new(), None, 0, 0);
    loop {
        let size = usize::from(*bytes.get(at)?);
        match size {
            0 => return Some((labels, end.unwrap_or(at + 1))),
            1..64 => {
                let label = bytes.get(at + 1..at + 1 + size)?;
                length += size + 1;
                if length > 254 {
                    return None;
                }
                labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
                at += size + 1;
            }
            192.. => {
                end.get_or_insert(at + 2);
                pointers += 1;
                if pointers > POINTERS {
                    return None;
                }
                at = usize::from(word(bytes, at)? & 0x3fff);
            }
            _ => return None,
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn put(bytes: &mut Vec<u8>, number: u16) {
    bytes.extend_from_slice(&number.to_be_bytes());
}

fn put_name(bytes: &mut Vec<u8>, name: &str) {
    for label in name.split('.').filter(|label| !label.is_empty()) {
        // Names of Kubernetes are shorter; longer ones can't be written.
        let label = &label.as_bytes()[..label.len().min(63)];
        bytes.push(u8::try_from(label.len()).unwrap_or(63));
        bytes.extend_from_slice(label);
    }
    bytes.push(0);
}

fn header(id: u16, flags: u16, code: Code, counts: [u16; 4]) -> Vec<u8> {
    let kept = flags & (RECURSION_DESIRED | TRUNCATED | OPERATION);
    let mut bytes = Vec::new();
    put(&mut bytes, id);
    put(&mut bytes, RESPONSE | AUTHORITATIVE | RECURSION_AVAILABLE | kept | code as u16);
    for count in counts {
        put(&mut bytes, count);
    }
    bytes
}

fn put_record(bytes: &mut Vec<u8>, record: &Record) {
    put_name(bytes, &record.name);
    let mut data = Vec::new();
    let kind = match &record.data {
        Data::Address(address) => {
            data.extend_from_slice(&address.octets());
            A
        }
        Data::Alias(target) => {
            put_name(&mut data, target);
            CNAME
        }
        Data::Pointer(target) => {
            put_name(&mut data, target);
            PTR
        }
        Data::Service { port, target } => {
            // Priority and weight: all are alike.
            for number in [0, 100, *port] {
                put(&mut data, number);
            }
            put_name(&mut data, target);
            SRV
        }
    };
    put_body(bytes, kind, &data);
}

/// Who answers for the zone, and how long a missing name may be remembered.
fn put_authority(bytes: &mut Vec<u8>) {
    put_name(bytes, super::zone::ZONE);
    let mut data = Vec::new();
    put_name(&mut data, &format!("ns.dns.{}", super::zone::ZONE));
    put_name(&mut data, &format!("hostmaster.{}", super::zone::ZONE));
    for number in [1, 7200, 1800, 86_400, TTL_S] {
        data.extend_from_slice(&number.to_be_bytes());
    }
    put_body(bytes, SOA, &data);
}

fn put_body(bytes: &mut Vec<u8>, kind: u16, data: &[u8]) {
    put(bytes, kind);
    put(bytes, INTERNET);
    bytes.extend_from_slice(&TTL_S.to_be_bytes());
    put(bytes, u16::try_from(data.len()).unwrap_or(u16::MAX));
    bytes.extend_from_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query as `dig` sends it: web.a, type A, recursion desired, an OPT record with 4096 bytes.
    const QUERY: &[u8] = b"\x12\x34\x01\x20\x00\x01\x00\x00\x00\x00\x00\x01\x03Web\x01a\x00\x00\x01\x00\x01\
        \x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00";

    /// If this fails resolvers do not understand what is answered, or are answered to another question.
    #[test]
    fn messages_are_those_of_the_standard() {
        let query = Query::read(QUERY).expect("a query");
        assert_eq!((query.name.clone(), query.kind), (vec!["web".to_owned(), "a".to_owned()], A));
        assert_eq!(query.udp_limit, LARGEST_UDP);
        let record = Record { name: "Web.a".into(), data: Data::Address(Ipv4Addr::new(127, 1, 2, 3)) };
        let answer = Answer::of(vec![record]);
        let expected = b"\x12\x34\x85\x80\x00\x01\x00\x01\x00\x00\x00\x00\x03Web\x01a\x00\x00\x01\x00\x01\
            \x03Web\x01a\x00\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x7f\x01\x02\x03";
        assert_eq!(query.answer(&answer, 512), expected);
        assert_eq!(addresses(expected), [Ipv4Addr::new(127, 1, 2, 3)]);
        let short = query.answer(&answer, 40);
        assert_eq!(
            short,
            b"\x12\x34\x87\x80\x00\x01\x00\x00\x00\x00\x00\x00\x03Web\x01a\x00\x00\x01\x00\x01"
        );
        let missing = query.answer(&Answer::empty(Code::NoSuchName), 512);
        assert_eq!(missing[..12], *b"\x12\x34\x85\x83\x00\x01\x00\x00\x00\x01\x00\x00");
        let service = Data::Service { port: 80, target: "b".into() };
        let services = query.answer(&Answer::of(vec![Record { name: "a".into(), data: service }]), 512);
        assert!(services.ends_with(
            b"\x01a\x00\x00\x21\x00\x01\x00\x00\x00\x05\x00\x09\x00\x00\x00\x64\x00\x50\x01b\x00"
        ));
    }

    /// If this fails a packet from anywhere ends the name server, or has it run for ever.
    #[test]
    fn what_is_no_query_is_refused() {
        for end in 0..21 {
            assert!(Query::read(&QUERY[..end]).is_err(), "{end}");
        }
        let mut looped = QUERY[..12].to_vec();
        looped.extend_from_slice(b"\xc0\x0c\x00\x01\x00\x01");
        let refusal = Query::read(&looped).expect_err("a loop").expect("an answer");
        assert_eq!(refusal[..4], *b"\x12\x34\x85\x81");
        let mut response = QUERY.to_vec();
        response[2] |= 0x80;
        assert_eq!(Query::read(&response), Err(None), "an answer is not answered");
        let mut update = QUERY.to_vec();
        update[2] |= 0x28;
        assert_eq!(Query::read(&update).expect_err("an update").expect("an answer")[3] & 15, 4);
        for end in 0..40 {
            let _ = addresses(&QUERY[..end.min(QUERY.len())]);
        }
    }
}
