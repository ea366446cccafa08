//! Numbers, texts and lists as Kafka's protocol has them, in the versions before the compact encodings.
//!
//! Source: <https://kafka.apache.org/protocol#protocol_types>. INT8 to INT64 are big-endian; a STRING is an INT16 length and
//! that many bytes, -1 for null; an ARRAY is an INT32 count, -1 for null; BYTES is an INT32 length and that many bytes.

/// A request's body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn int8(mut self, number: i8) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub(super) fn int16(mut self, number: i16) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub(super) fn int32(mut self, number: i32) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub(super) fn int64(mut self, number: i64) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    /// A text of more than 32767 bytes is cut: no name in Kafka is longer than 249.
    pub(super) fn string(self, text: &str) -> Self {
        let length = i16::try_from(text.len()).unwrap_or(i16::MAX);
        let bytes = &text.as_bytes()[..usize::try_from(length).unwrap_or(0)];
        let mut written = self.int16(length);
        written.0.extend(bytes);
        written
    }

    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        let mut written = self.int32(count(bytes.len()));
        written.0.extend(bytes);
        written
    }

    pub(super) fn array<T>(self, items: &[T], write: impl Fn(Self, &T) -> Self) -> Self {
        items.iter().fold(self.int32(count(items.len())), write)
    }

    /// A request with its header of version 1 and its length in front.
    pub(super) fn request(self, key: i16, version: i16, correlation: i32, client: &str) -> Vec<u8> {
        let header = Self::default().int16(key).int16(version).int32(correlation).string(client);
        let mut framed = count(header.0.len() + self.0.len()).to_be_bytes().to_vec();
        framed.extend(header.0);
        framed.extend(self.0);
        framed
    }
}

fn count(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

/// A response's body, read from the front.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

/// The answer ends before it is complete, or is something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], Malformed> {
        self.take(LENGTH)?.try_into().map_err(|_| Malformed)
    }

    pub(super) fn int8(&mut self) -> Result<i8, Malformed> {
        self.number().map(i8::from_be_bytes)
    }

    pub(super) fn int16(&mut self) -> Result<i16, Malformed> {
        self.number().map(i16::from_be_bytes)
    }

    pub(super) fn int32(&mut self) -> Result<i32, Malformed> {
        self.number().map(i32::from_be_bytes)
    }

    pub(super) fn int64(&mut self) -> Result<i64, Malformed> {
        self.number().map(i64::from_be_bytes)
    }

    /// A text; null is empty.
    pub(super) fn string(&mut self) -> Result<String, Malformed> {
        let length = self.int16()?;
        let bytes = self.take(usize::try_from(length).unwrap_or(0))?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.int32()?;
        self.take(usize::try_from(length).unwrap_or(0))
    }

    /// A list; null is empty.
    pub(super) fn array<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.int32()?;
        // As long as there are bytes: a count can lie. No element takes less than one byte.
        let mut items = Vec::new();
        for _ in 0..count {
            if self.0.is_empty() {
                return Err(Malformed);
            }
            items.push(read(self)?);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No broker would understand a request. The bytes follow from the protocol's description by hand.
    #[test]
    fn requests_are_framed() {
        let body = Writer::default().string("ab").array(&[7_i32], |to, number| to.int32(*number)).int8(1);
        let expected = [
            0, 0, 0, 24, // length of what follows
            0, 9, 0, 2, 0, 0, 0, 5, 0, 1, b'w', // key, version, correlation, client
            0, 2, b'a', b'b', 0, 0, 0, 1, 0, 0, 0, 7, 1, // text, list of one, number
        ];
        assert_eq!(body.request(9, 2, 5, "w"), expected);
    }

    /// A broker that lies about lengths would take all memory, or end the program.
    #[test]
    fn answers_that_break_off() {
        let mut reader = Reader::new(&[0x7f, 0xff, 0xff, 0xff, 1]);
        assert_eq!(reader.array(Reader::int8), Err(Malformed));
        assert_eq!(Reader::new(&[0, 9, b'a']).string(), Err(Malformed));
        assert_eq!(Reader::new(&[0xff, 0xff]).string(), Ok(String::new()), "null");
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff]).array(Reader::int8), Ok(vec![]), "null");
    }
}
