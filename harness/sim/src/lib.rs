//! Discrete-event simulator of a serving platform in virtual time.
