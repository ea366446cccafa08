//! Cases that a serving platform must pass, starting with decision vectors.
