//! SASL for Kafka: PLAIN (RFC 4616) and SCRAM (RFC 5802, RFC 7677).

use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Iterations that a server may ask for: more would keep the processor busy for minutes.
const MOST_ITERATIONS: u32 = 1_000_000;
/// Bytes of the client's nonce.
const NONCE_BYTES: usize = 24;
/// `n,,` in base 64: no channel is bound, and the user stands for nobody else.
const NO_BINDING: &str = "biws";

/// How a user proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
}

impl Mechanism {
    /// Its registered name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// PLAIN's only message.
pub(super) fn plain(user: &str, password: &str) -> Vec<u8> {
    format!("\0{user}\0{password}").into_bytes()
}

/// One conversation by SCRAM.
pub(super) struct Scram {
    is_512: bool,
    password: String,
    first_bare: String,
    nonce: String,
    /// What the server must prove itself with.
    server_signature: Vec<u8>,
}

impl Scram {
    /// Begins with a random nonce.
    ///
    /// # Errors
    /// The machine gives no random bytes.
    pub(super) fn new(is_512: bool, user: &str, password: &str) -> Result<Self, String> {
        let mut bytes = [0; NONCE_BYTES];
        rand::fill(&mut bytes).map_err(|_| "no random bytes for SCRAM")?;
        Ok(Self::with_nonce(is_512, user, password, &STANDARD.encode(bytes)))
    }

    fn with_nonce(is_512: bool, user: &str, password: &str, nonce: &str) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self {
            is_512,
            password: password.to_owned(),
            first_bare: format!("n={user},r={nonce}"),
            nonce: nonce.to_owned(),
            server_signature: Vec::new(),
        }
    }

    /// The client's first message.
    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.first_bare)
    }

    /// The client's final message, after the server's first one.
    ///
    /// # Errors
    /// What is wrong with the server's message.
    pub(super) fn last(&mut self, server_first: &[u8]) -> Result<String, String> {
        let text = std::str::from_utf8(server_first).map_err(|_| "the broker's SCRAM message is no text")?;
        let part = |name: &str| {
            let found = text.split(',').find_map(|part| part.strip_prefix(name));
            found.ok_or_else(|| format!("the broker's SCRAM message has no {name}"))
        };
        let nonce = part("r=")?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("the broker's SCRAM message answers another conversation".to_owned());
        }
        let salt = STANDARD.decode(part("s=")?).map_err(|_| "the broker's SCRAM salt is no base 64")?;
        let iterations = part("i=")?.parse::<u32>().ok().filter(|count| *count <= MOST_ITERATIONS);
        let iterations = iterations.and_then(NonZeroU32::new);
        let iterations = iterations.ok_or("the broker asks for an impossible number of SCRAM iterations")?;
        let without_proof = format!("c={NO_BINDING},r={nonce}");
        let message = format!("{},{text},{without_proof}", self.first_bare);
        let salted = self.salted(&salt, iterations);
        let client_key = self.mac(&salted, b"Client Key");
        let stored_key = digest::digest(self.digest(), &client_key);
        let signature = self.mac(stored_key.as_ref(), message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, sign)| key ^ sign).collect();
        let server_key = self.mac(&salted, b"Server Key");
        self.server_signature = self.mac(&server_key, message.as_bytes());
        Ok(format!("{without_proof},p={}", STANDARD.encode(proof)))
    }

    /// Checks the server's final message: it must know the password too.
    ///
    /// # Errors
    /// The server refuses, or does not know it.
    pub(super) fn check(&self, server_last: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(server_last);
        if let Some(error) = text.strip_prefix("e=") {
            return Err(format!("the broker refuses user and password: {error}"));
        }
        let signature = text.strip_prefix("v=").and_then(|text| STANDARD.decode(text).ok());
        let is_right = signature.is_some_and(|signature| {
            constant_time::verify_slices_are_equal(&signature, &self.server_signature).is_ok()
        });
        if is_right { Ok(()) } else { Err("the broker does not know the user's password itself".to_owned()) }
    }

    fn digest(&self) -> &'static digest::Algorithm {
        if self.is_512 { &digest::SHA512 } else { &digest::SHA256 }
    }

    fn mac(&self, key: &[u8], message: &[u8]) -> Vec<u8> {
        let algorithm = if self.is_512 { hmac::HMAC_SHA512 } else { hmac::HMAC_SHA256 };
        hmac::sign(&hmac::Key::new(algorithm, key), message).as_ref().to_vec()
    }

    fn salted(&self, salt: &[u8], iterations: NonZeroU32) -> Vec<u8> {
        let algorithm = if self.is_512 { pbkdf2::PBKDF2_HMAC_SHA512 } else { pbkdf2::PBKDF2_HMAC_SHA256 };
        let mut salted = vec![0; self.digest().output_len()];
        pbkdf2::derive(algorithm, iterations, salt, self.password.as_bytes(), &mut salted);
        salted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No broker with SCRAM would let anybody in. The conversation is the example of RFC 7677, section 3.
    #[test]
    fn scram_sha_256_of_the_rfc() {
        let mut scram = Scram::with_nonce(false, "user", "pencil", "rOprNGfwEbeRWgbNEkqO");
        assert_eq!(scram.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let server = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(
            scram.last(server.as_bytes()).expect("an answer"),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(scram.check(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
        assert!(scram.check(b"v=AAAA").is_err(), "a broker that does not know the password");
        assert!(scram.check(b"e=invalid-proof").expect_err("refused").contains("invalid-proof"));
    }

    /// The same conversation with SHA-512: computed with Python's `hashlib.pbkdf2_hmac` and `hmac`.
    #[test]
    fn scram_sha_512() {
        let mut scram = Scram::with_nonce(true, "user", "pencil", "rOprNGfwEbeRWgbNEkqO");
        let server = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let last = scram.last(server.as_bytes()).expect("an answer");
        assert_eq!(
            last.split("p=").nth(1),
            Some("gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==")
        );
        assert_eq!(
            scram.check(
                b"v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw=="
            ),
            Ok(())
        );
    }

    /// A server in between could choose the nonce, or keep the processor busy.
    #[test]
    fn servers_that_cheat() {
        for (server, part) in [
            ("r=other,s=AAAA,i=4096", "another conversation"),
            ("r=abc,s=AAAA,i=4096", "another conversation"),
            ("r=abcd,s=AAAA,i=0", "iterations"),
            ("r=abcd,s=AAAA,i=4000000000", "iterations"),
            ("r=abcd,s=?,i=1", "base 64"),
            ("r=abcd,i=1", "no s="),
        ] {
            let mut scram = Scram::with_nonce(false, "a=b,c", "x", "abc");
            assert_eq!(scram.first(), "n,,n=a=3Db=2Cc,r=abc");
            let error = scram.last(server.as_bytes()).expect_err(server);
            assert!(error.contains(part), "{error}");
        }
    }
}
