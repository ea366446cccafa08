//! The messages of `externalscaler.proto`, as protocol buffers have them.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding>. A field is a key (number and wire type) and a value: a
//! variable-length number, 8 bytes, or a length and that many bytes. Fields that are not known are passed over.

use std::collections::BTreeMap;

use windtunnel_kernel::autoscale::keda::triggers::external::ExternalMetric;

const NUMBER: u64 = 0;
const EIGHT_BYTES: u64 = 1;
const LENGTH: u64 = 2;
const FOUR_BYTES: u64 = 5;

/// An answer that is no such message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// `ScaledObjectRef`.
pub(super) fn reference(name: &str, namespace: &str, metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let mut message = Vec::new();
    text(&mut message, 1, name);
    text(&mut message, 2, namespace);
    for (key, value) in metadata {
        let mut entry = Vec::new();
        text(&mut entry, 1, key);
        text(&mut entry, 2, value);
        bytes(&mut message, 3, &entry);
    }
    message
}

/// `GetMetricsRequest`.
pub(super) fn metrics_request(reference: &[u8], metric: &str) -> Vec<u8> {
    let mut message = Vec::new();
    bytes(&mut message, 1, reference);
    text(&mut message, 2, metric);
    message
}

/// `IsActiveResponse`.
pub(super) fn read_active(message: &[u8]) -> Result<bool, Malformed> {
    let mut result = false;
    fields(message, |number, value| {
        if let (1, Value::Number(found)) = (number, value) {
            result = found != 0;
        }
        Ok(())
    })?;
    Ok(result)
}

/// `GetMetricSpecResponse`.
pub(super) fn read_specs(message: &[u8]) -> Result<Vec<ExternalMetric>, Malformed> {
    let entries = entries(message)?;
    let metric = |entry: &Entry| ExternalMetric { name: entry.name.clone(), target: entry.number() };
    Ok(entries.iter().map(metric).collect())
}

/// `GetMetricsResponse`.
pub(super) fn read_values(message: &[u8]) -> Result<Vec<f64>, Malformed> {
    Ok(entries(message)?.iter().map(Entry::number).collect())
}

/// `MetricSpec` and `MetricValue`, which have the same shape.
#[derive(Default)]
struct Entry {
    name: String,
    whole: i64,
    fraction: f64,
}

impl Entry {
    /// The fraction replaces the whole number where it is set.
    fn number(&self) -> f64 {
        if self.fraction > 0.0 { self.fraction } else { self.whole as f64 }
    }
}

fn entries(message: &[u8]) -> Result<Vec<Entry>, Malformed> {
    let mut entries = Vec::new();
    fields(message, |number, value| {
        let (1, Value::Bytes(found)) = (number, value) else { return Ok(()) };
        let mut entry = Entry::default();
        fields(found, |number, value| {
            match (number, value) {
                (1, Value::Bytes(name)) => entry.name = String::from_utf8_lossy(name).into_owned(),
                (2, Value::Number(whole)) => entry.whole = whole.cast_signed(),
                (3, Value::EightBytes(bits)) => entry.fraction = f64::from_bits(bits),
                _ => {}
            }
            Ok(())
        })?;
        entries.push(entry);
        Ok(())
    })?;
    Ok(entries)
}

enum Value<'a> {
    Number(u64),
    EightBytes(u64),
    Bytes(&'a [u8]),
    Other,
}

fn fields<'a>(
    mut message: &'a [u8],
    mut found: impl FnMut(u64, Value<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    while !message.is_empty() {
        let key = take_number(&mut message)?;
        let value = match key & 7 {
            NUMBER => Value::Number(take_number(&mut message)?),
            EIGHT_BYTES => {
                let bits = take(&mut message, 8)?.try_into().map_err(|_| Malformed)?;
                Value::EightBytes(u64::from_le_bytes(bits))
            }
            LENGTH => {
                let length = take_number(&mut message)?;
                Value::Bytes(take(&mut message, usize::try_from(length).map_err(|_| Malformed)?)?)
            }
            FOUR_BYTES => {
                take(&mut message, 4)?;
                Value::Other
            }
            _ => return Err(Malformed),
        };
        found(key >> 3, value)?;
    }
    Ok(())
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (taken, rest) = message.split_at_checked(length).ok_or(Malformed)?;
    *message = rest;
    Ok(taken)
}

fn take_number(message: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(message, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Malformed)
}

fn put_number(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        message.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}

fn bytes(message: &mut Vec<u8>, field: u64, value: &[u8]) {
    put_number(message, field << 3 | LENGTH);
    put_number(message, value.len() as u64);
    message.extend(value);
}

/// An empty text is not written, as the third version of protocol buffers has it.
fn text(message: &mut Vec<u8>, field: u64, value: &str) {
    if !value.is_empty() {
        bytes(message, field, value.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A scaler would be asked about another object. The bytes follow from the encoding's description by hand.
    #[test]
    fn requests_are_written() {
        let metadata = BTreeMap::from([("k".to_owned(), "v".repeat(200))]);
        let reference = reference("so", "", &metadata);
        assert_eq!(reference[..4], [0x0a, 2, b's', b'o']);
        // Field 3 is 3 + 203 bytes: a key of one byte, a value of two hundred with a length of two.
        assert_eq!(reference[4..13], [0x1a, 0xce, 0x01, 0x0a, 1, b'k', 0x12, 0xc8, 0x01]);
        assert_eq!(metrics_request(b"x", "m"), [0x0a, 1, b'x', 0x12, 1, b'm']);
    }

    /// Replicas would follow another number than the scaler's. The bytes are those of Python's protobuf 7.
    #[test]
    fn answers_are_read() {
        assert_eq!(read_active(&[8, 1]), Ok(true));
        assert_eq!(read_active(&[]), Ok(false), "false is not written");
        let specs = [
            0x0a, 0x05, 0x0a, 0x01, b'a', 0x10, 0x0a, // a, 10
            0x0a, 0x0e, 0x0a, 0x01, b'b', 0x10, 0x0a, 0x19, 0, 0, 0, 0, 0, 0, 4, 0x40, // b, 10, 2.5
        ];
        let metric = |name: &str, target| ExternalMetric { name: name.to_owned(), target };
        assert_eq!(read_specs(&specs), Ok(vec![metric("a", 10.0), metric("b", 2.5)]));
        assert_eq!(read_values(&specs), Ok(vec![10.0, 2.5]));
        let unknown = [0x22, 1, b'x', 0x2d, 1, 2, 3, 4, 0x0a, 0];
        assert_eq!(read_values(&unknown), Ok(vec![0.0]), "fields of a later version");
        let negative = [0x0a, 0x0b, 0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(read_values(&negative), Ok(vec![-1.0]));
    }

    /// A scaler that answers nonsense would end the program.
    #[test]
    fn answers_that_break_off() {
        for wrong in [
            &[0x0a, 9, 1][..],
            &[0x0a],
            &[0x0b],
            &[0x19, 1],
            &[0xff; 11],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f],
        ] {
            assert_eq!(read_values(wrong), Err(Malformed), "{wrong:?}");
        }
    }
}
