//! Quantities as texts with a pattern.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

macro_rules! text_schema {
    ($($(#[$doc:meta])* $type:ident, $name:literal, $description:literal, $pattern:literal;)+) => {$(
        $(#[$doc])*
        pub(super) struct $type;

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $description, "pattern": $pattern })
            }
        }
    )+};
}

text_schema! {
    /// `300ms`, `1m30s`.
    DurationText, "Duration", "A number and a unit, larger units first: 300ms, 75s, 1m30s.",
        "^([0-9]*\\.?[0-9]+(ns|us|µs|ms|s|m|h|d))+$";
    /// `20/s`, `90/min`.
    RateText, "Rate", "A number in a period: 20/s, 90/min.",
        "^[0-9]*\\.?[0-9]+ */ *(s|sec|second|m|min|minute|h|hour|d|day)$";
    /// `5%`.
    PercentText, "Percentage", "A share: 1%, 0.5%.",
        "^[0-9]*\\.?[0-9]+ *%$";
    /// `7GiB`.
    BytesText, "Bytes", "An amount of data: 7GiB, 500MB.",
        "^[0-9]*\\.?[0-9]+ *(B|kB|KiB|MB|MiB|GB|GiB|TB|TiB)$";
    /// `10Gbit/s`.
    BandwidthText, "Bandwidth", "An amount of data a second: 10Gbit/s, 500MB/s.",
        "^[0-9]*\\.?[0-9]+ *(bit|kbit|Mbit|Gbit|Tbit|B|kB|KiB|MB|MiB|GB|GiB|TB|TiB) */ *s$";
    /// `0.40/h`.
    PriceText, "Price", "What an hour costs, in any currency: 0.40/h.",
        "^[0-9]*\\.?[0-9]+ */ *(s|m|min|h|hour|d|day)$";
    /// `s3://models/`.
    StoragePrefix, "StoragePrefix", "The beginning of a storage URI: s3://models/.",
        "://";
}
