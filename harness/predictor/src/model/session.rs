//! One ONNX Runtime session: tensors in, whatever the model returns out.

use std::path::{Path, PathBuf};

use ort::{
    environment::Environment,
    logging::LogLevel,
    session::{Session, SessionInputValue},
    value::{
        DynMap, DynMapValueType, DynSequenceValueType, DynTensorValueType, DynValue, Tensor as OrtTensor,
        TensorElementType, ValueType,
    },
};

use crate::{
    error::{PredictorError, RequestError},
    tensor::{Data, Datatype, Output, Tensor, TensorSpec, Value},
};

/// A loaded model for one thread.
#[derive(Debug)]
pub(crate) struct ModelSession {
    model: String,
    path: PathBuf,
    session: Session,
}

impl ModelSession {
    pub(crate) fn load(environment: &Environment, model: &str, path: &Path) -> Result<Self, PredictorError> {
        let session = open(environment, path).map_err(|error| PredictorError::Load {
            model: model.to_owned(),
            path: path.to_owned(),
            cause: error.to_string(),
        })?;
        Ok(Self { model: model.to_owned(), path: path.to_owned(), session })
    }

    /// What must be sent.
    pub(crate) fn inputs(&self) -> Result<Vec<TensorSpec>, PredictorError> {
        self.session
            .inputs()
            .iter()
            .map(|input| {
                declared(input.name(), input.dtype()).ok_or_else(|| PredictorError::UnsupportedType {
                    model: self.model.clone(),
                    path: self.path.clone(),
                    what: format!("input \"{}\"", input.name()),
                    found: input.dtype().to_string(),
                })
            })
            .collect()
    }

    /// What is said to come back. Class probabilities as maps are declared as the table that V2 makes of them.
    pub(crate) fn outputs(&self) -> Vec<TensorSpec> {
        self.session
            .outputs()
            .iter()
            .map(|output| {
                declared(output.name(), output.dtype()).unwrap_or_else(|| TensorSpec {
                    name: output.name().to_owned(),
                    datatype: Datatype::Fp64,
                    shape: vec![-1, -1],
                })
            })
            .collect()
    }

    /// Runs the model. Tensors are in the order of the inputs.
    pub(crate) fn run(&mut self, tensors: Vec<Tensor>) -> Result<Vec<Output>, RequestError> {
        let internal = |error: ort::Error| {
            RequestError::Inference(format!("model \"{}\" cannot take the values: {error}", self.model))
        };
        let values: Vec<SessionInputValue<'_>> =
            tensors.into_iter().map(input_value).collect::<Result<_, _>>().map_err(internal)?;
        let names: Vec<String> =
            self.session.outputs().iter().map(|output| output.name().to_owned()).collect();
        let mut returned = self
            .session
            .run(&*values)
            .map_err(|error| RequestError::Inference(format!("model \"{}\" failed: {error}", self.model)))?;
        names
            .into_iter()
            .map(|name| {
                let value = returned.remove(&name).ok_or_else(|| {
                    RequestError::Inference(format!("model \"{}\" returned no output \"{name}\"", self.model))
                })?;
                let value = output_value(value).map_err(|fault| {
                    RequestError::Inference(format!("model \"{}\", output \"{name}\": {fault}", self.model))
                })?;
                Ok(Output { name, value })
            })
            .collect()
    }
}

fn open(environment: &Environment, path: &Path) -> ort::Result<Session> {
    // A second thread inside a session never pays at the sizes of requests (measured); workers are the way to use
    // more cores.
    let mut builder = Session::builder(environment)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_log_level(LogLevel::Warning)?;
    builder.commit_from_file(path)
}

fn declared(name: &str, dtype: &ValueType) -> Option<TensorSpec> {
    match dtype {
        ValueType::Tensor { ty, shape, .. } => {
            Some(TensorSpec { name: name.to_owned(), datatype: datatype(*ty)?, shape: shape.to_vec() })
        }
        ValueType::Optional(inner) => declared(name, inner),
        _ => None,
    }
}

fn datatype(element: TensorElementType) -> Option<Datatype> {
    Some(match element {
        TensorElementType::Bool => Datatype::Bool,
        TensorElementType::Uint8 => Datatype::Uint8,
        TensorElementType::Uint16 => Datatype::Uint16,
        TensorElementType::Uint32 => Datatype::Uint32,
        TensorElementType::Uint64 => Datatype::Uint64,
        TensorElementType::Int8 => Datatype::Int8,
        TensorElementType::Int16 => Datatype::Int16,
        TensorElementType::Int32 => Datatype::Int32,
        TensorElementType::Int64 => Datatype::Int64,
        TensorElementType::Float16 => Datatype::Fp16,
        TensorElementType::Bfloat16 => Datatype::Bf16,
        TensorElementType::Float32 => Datatype::Fp32,
        TensorElementType::Float64 => Datatype::Fp64,
        TensorElementType::String => Datatype::Bytes,
        _ => return None,
    })
}

fn input_value(tensor: Tensor) -> ort::Result<SessionInputValue<'static>> {
    let Tensor { shape, data } = tensor;
    Ok(match data {
        Data::Bool(values) => OrtTensor::from_array((shape, values))?.into(),
        Data::Uint8(values) => OrtTensor::from_array((shape, values))?.into(),
        Data::Uint16(values) => OrtTensor::from_array((shape, values))?.into(),
        Data::Uint32(values) => OrtTensor::from_array((shape, values))?.into(),
        Data::Uint64(values) => OrtTensor::from_array((shape, values))?.into(),
        Data::Int8(values) => OrtTensor::from_array((shape, values))?.into(),
        Data::Int16(values) => OrtTensor::from_array((shape, values))?.into(),
        Data::Int32(values) => OrtTensor::from_array((shape, values))?.into(),
        Data::Int64(values) => OrtTensor::from_array((shape, values))?.into(),
        Data::Fp16(values) => OrtTensor::from_array((shape, values))?.into(),
        Data::Bf16(values) => OrtTensor::from_array((shape, values))?.into(),
        Data::Fp32(values) => OrtTensor::from_array((shape, values))?.into(),
        Data::Fp64(values) => OrtTensor::from_array((shape, values))?.into(),
        Data::Bytes(values) => OrtTensor::from_string_array((shape, &*values))?.into(),
    })
}

/// Reads what a model returned, by the value's own type and shape rather than by the declared ones.
fn output_value(value: DynValue) -> Result<Value, String> {
    let text = |error: ort::Error| error.to_string();
    match value.dtype() {
        ValueType::Tensor { .. } => output_tensor(&value).map(Value::Tensor),
        ValueType::Map { .. } => {
            let map = value.downcast::<DynMapValueType>().map_err(text)?;
            Ok(Value::Maps(vec![output_map(&map)?]))
        }
        ValueType::Sequence(inner) => {
            let of_maps = matches!(**inner, ValueType::Map { .. });
            let sequence = value.downcast::<DynSequenceValueType>().map_err(text)?;
            if of_maps {
                let maps = sequence.try_extract_sequence::<DynMapValueType>().map_err(text)?;
                maps.iter().map(output_map).collect::<Result<_, _>>().map(Value::Maps)
            } else {
                let tensors = sequence.try_extract_sequence::<DynTensorValueType>().map_err(text)?;
                let tensors = tensors.into_iter().map(|tensor| output_tensor(&tensor.into_dyn()));
                tensors.collect::<Result<_, _>>().map(Value::Tensors)
            }
        }
        ValueType::Optional(_) => Err("optional values cannot be served".to_owned()),
    }
}

fn output_tensor(value: &DynValue) -> Result<Tensor, String> {
    let ValueType::Tensor { ty, .. } = value.dtype() else {
        return Err(format!("expected a tensor, got {}", value.dtype()));
    };
    let Some(datatype) = datatype(*ty) else {
        return Err(format!("elements of the type {ty} cannot be served"));
    };
    macro_rules! extract {
        ($variant:ident, $element:ty) => {{
            let (shape, values) =
                value.try_extract_tensor::<$element>().map_err(|error| error.to_string())?;
            (shape.to_vec(), Data::$variant(values.to_vec()))
        }};
    }
    let (shape, data) = match datatype {
        Datatype::Bool => extract!(Bool, bool),
        Datatype::Uint8 => extract!(Uint8, u8),
        Datatype::Uint16 => extract!(Uint16, u16),
        Datatype::Uint32 => extract!(Uint32, u32),
        Datatype::Uint64 => extract!(Uint64, u64),
        Datatype::Int8 => extract!(Int8, i8),
        Datatype::Int16 => extract!(Int16, i16),
        Datatype::Int32 => extract!(Int32, i32),
        Datatype::Int64 => extract!(Int64, i64),
        Datatype::Fp16 => extract!(Fp16, half::f16),
        Datatype::Bf16 => extract!(Bf16, half::bf16),
        Datatype::Fp32 => extract!(Fp32, f32),
        Datatype::Fp64 => extract!(Fp64, f64),
        Datatype::Bytes => {
            let (shape, values) = value.try_extract_strings().map_err(|error| error.to_string())?;
            (shape.to_vec(), Data::Bytes(values))
        }
    };
    let shape = shape.into_iter().map(|size| usize::try_from(size).unwrap_or_default()).collect();
    Ok(Tensor { shape, data })
}

fn output_map(map: &DynMap) -> Result<Vec<(String, f64)>, String> {
    let ValueType::Map { key, value: element } = map.dtype() else {
        return Err(format!("expected a map, got {}", map.dtype()));
    };
    macro_rules! entries {
        ($key:ty, $element:ty) => {{
            let mut entries =
                map.try_extract_key_values::<$key, $element>().map_err(|error| error.to_string())?;
            entries.sort_by(|one, other| one.0.cmp(&other.0));
            Ok(entries.into_iter().map(|(key, value)| (key.to_string(), value as f64)).collect())
        }};
    }
    match (key, element) {
        (TensorElementType::Int64, TensorElementType::Float32) => entries!(i64, f32),
        (TensorElementType::Int64, TensorElementType::Float64) => entries!(i64, f64),
        (TensorElementType::Int64, TensorElementType::Int64) => entries!(i64, i64),
        (TensorElementType::String, TensorElementType::Float32) => entries!(String, f32),
        (TensorElementType::String, TensorElementType::Float64) => entries!(String, f64),
        (TensorElementType::String, TensorElementType::Int64) => entries!(String, i64),
        _ => Err(format!("maps from {key} to {element} cannot be served")),
    }
}
