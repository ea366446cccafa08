//! The one observation format of simulated and live runs, and the judging of objectives over it.
//!
//! Simulator and live client write the same [`Recording`] through the same [`Recorder`]. Everything after
//! that (verdicts, comparison, report) reads recordings and does not know who wrote them.
//!
//! | role | types |
//! | --- | --- |
//! | what was observed | [`Recording`] with [`Request`], [`Point`], [`Decision`], [`Event`], [`ColdStart`] |
//! | who writes it | [`Recorder`] |
//! | the same in bounded memory | [`Digest`], for runs of any length |
//! | how it is kept | [`jsonl`]: JSON Lines, byte for byte the same for equal recordings |
//! | how fast | [`quantile`] |
//! | is an answer the expected one | [`predictions_equal`] |
//! | what must hold, and does it | [`judge::judge`], [`judge::Gate`], [`judge::Verdict`] |
//! | did it keep up, and what was it short of | [`stability::assess`], [`bottleneck::Bottleneck`] |
//! | how sure is a figure | [`replications`]: intervals over seeds, paired differences, a stopping rule |
//! | what if | [`futures::compare`]: both futures of a fork |
//! | simulation against flight | [`compare::compare`], [`compare::Comparison`] |
//! | the figures of a run | [`summary::Summary`] |
//! | the outcome of a run | [`result::RunResult`] |
//!
//! All times are nanoseconds since the start of the run.
//!
//! ```
//! use windtunnel_record::{Meta, Recorder, Recording, Request, Revision, Source, quantile};
//!
//! let mut recording = Recording::new(Meta::new("quickstart", Source::Simulated, 42, 1_000_000_000));
//! let revision = recording.revision(Revision {
//!     name: "digits-predictor-00001".into(),
//!     storage_uri: "s3://models/digits/v1".into(),
//!     created_ns: 0,
//! });
//! for n in 0..100 {
//!     recording.request(Request::answered(n * 10_000_000, 2_000_000 + n, revision));
//! }
//! assert_eq!(quantile::of_requests(recording.requests.iter(), 0.5), Some(2_000_049));
//!
//! let mut text = Vec::new();
//! recording.write_jsonl(&mut text)?;
//! assert_eq!(Recording::read_jsonl(text.as_slice())?, recording);
//! # Ok::<(), windtunnel_record::RecordingError>(())
//! ```

pub mod bottleneck;
pub mod compare;
pub mod digest;
pub mod futures;
mod histogram;
pub mod jsonl;
pub mod judge;
pub mod prediction;
pub mod quantile;
pub mod recorder;
pub mod recording;
pub mod replications;
pub mod result;
pub mod stability;
pub mod summary;

pub use digest::Digest;
pub use jsonl::RecordingError;
pub use prediction::predictions_equal;
pub use recorder::{Recorder, SeriesId};
pub use recording::{
    ColdStart, Decision, Event, Measure, Meta, Point, Prediction, Recording, Request, Revision, SCHEMA,
    SeriesKey, Source,
};
