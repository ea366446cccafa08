//! The file format: an envelope a vector, with its line.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::VectorFileError;
use super::fields::Fields;

/// One vector, as far as it could be read.
pub(crate) struct Vector {
    pub(crate) id: String,
    pub(crate) kernel: String,
    pub(crate) line: u64,
    pub(crate) inputs: Value,
    pub(crate) expect: Value,
    /// What is wrong with the envelope.
    pub(crate) fault: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "schema_1")]
    schema: u64,
    #[serde(default, rename = "generated_from")]
    _generated_from: Option<Value>,
    #[serde(default)]
    count: Option<Spanned<u64>>,
    vectors: Vec<Spanned<Value>>,
}

fn schema_1() -> u64 {
    1
}

/// Reads the vectors of a file.
pub(crate) fn read(text: &str, path: &str) -> Result<Vec<Vector>, VectorFileError> {
    let file: File = serde_saphyr::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        VectorFileError::Malformed { path: path.to_string(), line, column, message: error.to_string() }
    })?;
    if file.schema != 1 {
        return Err(VectorFileError::Schema { path: path.to_string(), found: file.schema });
    }
    if let Some(count) = file.count.filter(|count| count.value != file.vectors.len() as u64) {
        return Err(VectorFileError::Count {
            path: path.to_string(),
            line: count.referenced.line(),
            said: count.value,
            found: file.vectors.len(),
        });
    }
    // Where each id was seen.
    let mut ids = BTreeMap::new();
    Ok(file
        .vectors
        .into_iter()
        .map(|vector| {
            let mut vector = envelope(vector.value, vector.referenced.line());
            if let Some(first) = ids.insert(vector.id.clone(), vector.line)
                && vector.fault.is_none()
            {
                vector.fault = Some(format!(
                    "vector.id: the vector in line {first} has the same, give this one another"
                ));
            }
            vector
        })
        .collect())
}

fn envelope(mut value: Value, line: u64) -> Vector {
    let fault = check_envelope(&value).err();
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or("?").to_string();
    let (id, kernel) = (text("id"), text("kernel"));
    let mut take = |key: &str| value.get_mut(key).map_or(Value::Null, Value::take);
    Vector { id, kernel, line, inputs: take("inputs"), expect: take("expect"), fault }
}

fn check_envelope(value: &Value) -> Result<(), String> {
    let vector = Fields::new("vector", value)?;
    for key in ["id", "kernel"] {
        if vector.get::<String>(key)?.is_empty() {
            return Err(format!("vector.{key}: is empty, give it a name"));
        }
    }
    vector.opt::<String>("note")?;
    vector.get::<Fields<'_>>("inputs")?;
    vector.get::<Fields<'_>>("expect")?;
    let source: Fields<'_> = vector.get("source")?;
    for key in ["repo", "commit", "file"] {
        source.get::<String>(key)?;
    }
    for key in ["test", "case"] {
        source.opt::<String>(key)?;
    }
    source.finish()?;
    vector.finish()
}
