//! The log on stderr: text for people, and JSON lines for a cluster's log collector.

use std::collections::BTreeMap;
use std::fmt;

use clap::ValueEnum;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber, span};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The variable that says what is logged.
pub(crate) const VARIABLE: &str = "WINDTUNNEL_LOG";

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A line of words.
    Text,
    /// A JSON object a line, with the fields of controller-runtime's logs.
    Json,
}

/// Begins to log. `level` is used where the variable says nothing.
pub(crate) fn begin(format: Format, level: Option<&str>) {
    let fallback = level.unwrap_or("error");
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| fallback.into());
    match format {
        Format::Text => {
            let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
            tracing_subscriber::registry().with(filter).with(lines).init();
        }
        Format::Json => {
            let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).event_format(JsonLines);
            tracing_subscriber::registry().with(filter).with(SpanFields).with(lines).init();
        }
    }
}

/// Keeps the fields of spans, so that the lines within them have them.
struct SpanFields;

/// The fields of a span as JSON.
#[derive(Default)]
struct Fields(BTreeMap<&'static str, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), Value::String(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name(), value.into());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanFields {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }
}

/// One JSON object a line: `ts`, `level`, `logger`, `msg`, then the fields of the line and of the spans around it.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut own = Fields::default();
        event.record(&mut own);
        let metadata = event.metadata();
        let mut line = Map::new();
        line.insert("ts".to_owned(), now().into());
        line.insert("level".to_owned(), metadata.level().as_str().to_lowercase().into());
        line.insert("logger".to_owned(), metadata.target().into());
        line.insert("msg".to_owned(), own.0.remove("message").unwrap_or_default());
        for (name, value) in own.0 {
            line.entry(name).or_insert(value);
        }
        for span in context.event_scope().into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<Fields>() {
                for (name, value) in &fields.0 {
                    line.entry(*name).or_insert_with(|| value.clone());
                }
            }
        }
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// The time as RFC 3339 has it, to the microsecond.
fn now() -> String {
    let micros = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_micros()).ok());
    let time = micros.and_then(|micros| k8s_openapi::jiff::Timestamp::from_microsecond(micros).ok());
    time.unwrap_or_default().to_string()
}
