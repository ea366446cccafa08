//! SPDY 3.1 frames, as far as clients of Kubernetes use them: streams with headers, data, resets, pings, farewells.
//!
//! Format: <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/>. Header blocks of one direction are one
//! zlib stream with a dictionary that the protocol names. Answers are written as stored blocks of such a stream, which
//! every reader of zlib takes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::{Decompress, FlushDecompress};

/// Largest frame that is read, in bytes.
const FRAME_LIMIT: usize = 4 * 1024 * 1024;
/// Largest block of headers after decompression, in bytes.
const HEADERS_LIMIT: usize = 64 * 1024;
const VERSION: u16 = 3;
const FLAG_FIN: u8 = 1;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
/// Words of the dictionary, each with its length in front.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
    accept-ranges age allow authorization cache-control connection content-base content-encoding content-language \
    content-length content-location content-md5 content-range content-type date etag expect expires from host \
    if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
    proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
    user-agent vary via warning www-authenticate method get status";
const PHRASES: [&str; 8] =
    ["200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"];
/// The dictionary's end, without lengths.
const TAIL: &str = concat!(
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505",
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized",
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable",
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT",
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,",
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.",
);

/// A frame that matters to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// A stream is opened.
    Open { stream: u32, is_last: bool, headers: Vec<(String, String)> },
    /// Data of a stream.
    Data { stream: u32, is_last: bool, data: Bytes },
    /// A stream is torn down.
    Reset { stream: u32 },
    /// To be answered with the same number.
    Ping { id: u32 },
    /// The other side opens no more streams.
    Farewell,
    /// Anything else.
    Other,
}

/// Reads frames from bytes as they come.
pub(super) struct Decoder {
    buffer: BytesMut,
    inflate: Decompress,
    dictionary: Vec<u8>,
}

/// The dictionary of the protocol.
fn dictionary() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1423);
    for word in WORDS.split_whitespace().chain(PHRASES) {
        bytes.put_u32(u32::try_from(word.len()).unwrap_or(0));
        bytes.extend_from_slice(word.as_bytes());
    }
    bytes.extend_from_slice(TAIL.as_bytes());
    bytes
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { buffer: BytesMut::new(), inflate: Decompress::new(true), dictionary: dictionary() }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame; `None` if more bytes are needed.
    ///
    /// # Errors
    /// A sentence about what is not SPDY 3.1; the session can't go on.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, String> {
        let Some(head) = self.buffer.first_chunk::<8>() else { return Ok(None) };
        let [a, b, c, d, flags, length @ ..] = *head;
        let length = length.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        if length > FRAME_LIMIT {
            return Err(format!("a frame of {length} bytes; at most {FRAME_LIMIT} are taken"));
        }
        if self.buffer.len() < 8 + length {
            return Ok(None);
        }
        self.buffer.advance(8);
        let mut body = self.buffer.split_to(length).freeze();
        let is_last = flags & FLAG_FIN != 0;
        if a & 0x80 == 0 {
            let stream = u32::from_be_bytes([a, b, c, d]);
            return Ok(Some(Frame::Data { stream, is_last, data: body }));
        }
        let version = u16::from_be_bytes([a & 0x7f, b]);
        if version != VERSION {
            return Err(format!("SPDY version {version}; this server speaks {VERSION}"));
        }
        let kind = u16::from_be_bytes([c, d]);
        let needed = match kind {
            SYN_STREAM => 10,
            RST_STREAM => 8,
            PING => 4,
            _ => 0,
        };
        if body.len() < needed {
            return Err(format!("a frame of kind {kind} with {} bytes; it needs {needed}", body.len()));
        }
        Ok(Some(match kind {
            SYN_STREAM => {
                let stream = body.get_u32() & 0x7fff_ffff;
                // The stream that it belongs to, priority, slot.
                body.advance(6);
                Frame::Open { stream, is_last, headers: self.headers(&body)? }
            }
            RST_STREAM => Frame::Reset { stream: body.get_u32() & 0x7fff_ffff },
            PING => Frame::Ping { id: body.get_u32() },
            GOAWAY => Frame::Farewell,
            _ => Frame::Other,
        }))
    }

    /// Reads a block of headers.
    fn headers(&mut self, block: &[u8]) -> Result<Vec<(String, String)>, String> {
        let mut plain: Vec<u8> = Vec::with_capacity(4096);
        let mut at = 0;
        while at < block.len() {
            if plain.len() == plain.capacity() {
                plain.reserve(4096);
            }
            let before = (self.inflate.total_in(), plain.len());
            let result = self.inflate.decompress_vec(&block[at..], &mut plain, FlushDecompress::Sync);
            let taken = usize::try_from(self.inflate.total_in() - before.0).unwrap_or(0);
            at += taken;
            match result {
                Err(error) if error.needs_dictionary().is_some() => {
                    let set = self.inflate.set_dictionary(&self.dictionary);
                    set.map_err(|error| format!("headers: {error}"))?;
                }
                Err(error) => return Err(format!("headers: {error}")),
                Ok(_) if taken == 0 && plain.len() == before.1 && plain.len() < plain.capacity() => break,
                Ok(_) => {}
            }
            if plain.len() > HEADERS_LIMIT {
                return Err(format!("headers of more than {HEADERS_LIMIT} bytes"));
            }
        }
        pairs(&plain).ok_or_else(|| "headers that end too early".to_owned())
    }
}

fn pairs(mut plain: &[u8]) -> Option<Vec<(String, String)>> {
    let text = |plain: &mut &[u8]| {
        let length = usize::try_from(plain.try_get_u32().ok()?).ok()?;
        let (text, rest) = plain.split_at_checked(length)?;
        *plain = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    };
    let count = plain.try_get_u32().ok()?;
    (0..count).map(|_| Some((text(&mut plain)?, text(&mut plain)?))).collect()
}

/// Writes frames.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    has_header: bool,
}

impl Encoder {
    /// Accepts a stream, without headers.
    pub(super) fn reply(&mut self, stream: u32) -> Vec<u8> {
        // No pairs: a count of zero, in a stored block that ends on a byte; then an empty block, the mark at which
        // readers stop and hand out what they have.
        let mut block: Vec<u8> = Vec::new();
        if !self.has_header {
            block.extend_from_slice(&[0x78, 0x01]);
            self.has_header = true;
        }
        block.extend_from_slice(&[0x00, 4, 0, !4, !0, 0, 0, 0, 0]);
        block.extend_from_slice(&[0x00, 0, 0, !0, !0]);
        let mut body = stream.to_be_bytes().to_vec();
        body.extend_from_slice(&block);
        control(SYN_REPLY, &body)
    }

    /// Data of a stream, and whether it is the last.
    pub(super) fn data(stream: u32, data: &[u8], is_last: bool) -> Vec<u8> {
        let mut frame = (stream & 0x7fff_ffff).to_be_bytes().to_vec();
        frame.push(if is_last { FLAG_FIN } else { 0 });
        put_length(&mut frame, data.len());
        frame.extend_from_slice(data);
        frame
    }

    pub(super) fn ping(id: u32) -> Vec<u8> {
        control(PING, &id.to_be_bytes())
    }

    /// Refuses a stream.
    pub(super) fn reset(stream: u32) -> Vec<u8> {
        const REFUSED: u32 = 3;
        control(RST_STREAM, &[stream.to_be_bytes(), REFUSED.to_be_bytes()].concat())
    }
}

fn control(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = (0x8000 | VERSION).to_be_bytes().to_vec();
    frame.put_u16(kind);
    frame.push(0);
    put_length(&mut frame, body.len());
    frame.extend_from_slice(body);
    frame
}

fn put_length(frame: &mut Vec<u8>, length: usize) {
    let [.., a, b, c] = length.to_be_bytes();
    frame.extend_from_slice(&[a, b, c]);
}

#[cfg(test)]
pub(super) mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    /// The client's side: opens streams.
    pub(in crate::connect) struct Opener(Compress);

    impl Opener {
        pub(in crate::connect) fn new() -> Self {
            let mut deflate = Compress::new(Compression::best(), true);
            deflate.set_dictionary(&dictionary()).expect("a dictionary");
            Self(deflate)
        }

        pub(in crate::connect) fn open(&mut self, stream: u32, headers: &[(&str, &str)]) -> Vec<u8> {
            open(&mut self.0, stream, headers)
        }
    }

    fn open(deflate: &mut Compress, stream: u32, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut plain = Vec::new();
        plain.put_u32(u32::try_from(headers.len()).expect("few"));
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            plain.put_u32(u32::try_from(text.len()).expect("short"));
            plain.extend_from_slice(text.as_bytes());
        }
        let mut block = Vec::with_capacity(1024);
        deflate.compress_vec(&plain, &mut block, FlushCompress::Sync).expect("compressed");
        let mut body = stream.to_be_bytes().to_vec();
        body.extend_from_slice(&[0; 6]);
        body.extend_from_slice(&block);
        control(SYN_STREAM, &body)
    }

    /// If this fails no client can open a stream: the dictionary is the protocol's, byte for byte. Length and checksum
    /// are those of the specification (the checksum is the DICTID that every SPDY 3 client sends).
    #[test]
    fn the_dictionary_is_that_of_the_protocol() {
        let mut inflate = Compress::new(Compression::best(), true);
        assert_eq!(dictionary().len(), 1423);
        assert_eq!(inflate.set_dictionary(&dictionary()).expect("a dictionary"), 0xe3c6_a7c2);
    }

    /// If this fails the second connection through a port-forward fails: headers share one compressed stream.
    #[test]
    fn frames_are_read_however_they_are_cut() {
        let mut opener = Opener::new();
        let mut bytes = opener.open(1, &[("streamtype", "error"), ("port", "80")]);
        bytes.extend(opener.open(3, &[("streamtype", "data"), ("port", "80")]));
        bytes.extend(Encoder::data(3, b"hello", true));
        bytes.extend(Encoder::ping(7));
        bytes.extend(control(4, &[0; 4]));
        let mut decoder = Decoder::new();
        let mut frames = Vec::new();
        for piece in bytes.chunks(3) {
            decoder.push(piece);
            while let Some(frame) = decoder.next().expect("frames") {
                frames.push(frame);
            }
        }
        let headers = |kind: &str| {
            [("streamtype", kind), ("port", "80")].map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec()
        };
        let expected = [
            Frame::Open { stream: 1, is_last: false, headers: headers("error") },
            Frame::Open { stream: 3, is_last: false, headers: headers("data") },
            Frame::Data { stream: 3, is_last: true, data: Bytes::from_static(b"hello") },
            Frame::Ping { id: 7 },
            Frame::Other,
        ];
        assert_eq!(frames, expected);
    }

    /// If this fails a client can make the server allocate without bound, or end it.
    #[test]
    fn malformed_frames_are_refused() {
        for (bytes, words) in [
            (vec![0x80, 2, 0, 1, 0, 0, 0, 0], "version 2"),
            (vec![0x80, 3, 0, 1, 0, 0, 0, 0], "needs 10"),
            (vec![0, 0, 0, 1, 0, 0xff, 0xff, 0xff], "at most"),
            (
                [control(SYN_STREAM, &[0; 10])[..7].to_vec(), vec![14], vec![0; 10], vec![9; 4]].concat(),
                "headers",
            ),
        ] {
            let mut decoder = Decoder::new();
            decoder.push(&bytes);
            let refusal = decoder.next().expect_err(words);
            assert!(refusal.contains(words), "{refusal}");
        }
    }

    /// If this fails clients can't read that a stream was accepted.
    #[test]
    fn replies_are_one_stream_of_headers() {
        let mut encoder = Encoder::default();
        let mut inflate = Decompress::new(true);
        for stream in [1, 3, 5] {
            let frame = encoder.reply(stream);
            let mut plain = Vec::with_capacity(16);
            inflate.decompress_vec(&frame[12..], &mut plain, FlushDecompress::Sync).expect("zlib");
            assert_eq!(plain, [0; 4]);
        }
    }
}
