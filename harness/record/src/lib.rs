//! The one observation format of simulated and live runs, and the judging of objectives over it.
