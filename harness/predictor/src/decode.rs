//! JSON arrays to tensors, straight into the model's element type.

use std::fmt;

use half::{bf16, f16};
use serde::de::{DeserializeSeed, Error as _, SeqAccess, Visitor};
use serde_json::{Deserializer, value::RawValue};

use crate::tensor::{Data, Datatype, Tensor};

/// Deepest nesting of arrays in a tensor.
const MAX_RANK: usize = 16;

/// Decodes JSON values one after the other into one flat tensor.
pub(crate) struct Decoder {
    data: Data,
    /// Shape of each value, once one was decoded.
    shape: Option<Vec<usize>>,
    values: usize,
}

impl Decoder {
    pub(crate) fn new(datatype: Datatype) -> Self {
        Self { data: empty(datatype), shape: None, values: 0 }
    }

    /// Adds one value, which must have the shape of those before it. The error says what is wrong, without saying
    /// where.
    pub(crate) fn push(&mut self, json: &RawValue) -> Result<(), String> {
        let shape = match &mut self.data {
            Data::Bool(values) => flatten(json, values),
            Data::Uint8(values) => flatten(json, values),
            Data::Uint16(values) => flatten(json, values),
            Data::Uint32(values) => flatten(json, values),
            Data::Uint64(values) => flatten(json, values),
            Data::Int8(values) => flatten(json, values),
            Data::Int16(values) => flatten(json, values),
            Data::Int32(values) => flatten(json, values),
            Data::Int64(values) => flatten(json, values),
            Data::Fp16(values) => flatten(json, values),
            Data::Bf16(values) => flatten(json, values),
            Data::Fp32(values) => flatten(json, values),
            Data::Fp64(values) => flatten(json, values),
            Data::Bytes(values) => flatten(json, values),
        }?;
        match &self.shape {
            Some(before) if *before != shape => {
                return Err(format!("has the shape {shape:?}, those before it have {before:?}"));
            }
            Some(_) => {}
            None => self.shape = Some(shape),
        }
        self.values += 1;
        Ok(())
    }

    /// The only value that was added.
    pub(crate) fn single(self) -> Tensor {
        Tensor { shape: self.shape.unwrap_or_default(), data: self.data }
    }

    /// All values, stacked along a new outermost axis.
    pub(crate) fn stacked(self) -> Tensor {
        let mut shape = vec![self.values];
        shape.extend(self.shape.unwrap_or_default());
        Tensor { shape, data: self.data }
    }
}

/// Decodes one JSON value.
pub(crate) fn tensor(json: &RawValue, datatype: Datatype) -> Result<Tensor, String> {
    let mut decoder = Decoder::new(datatype);
    decoder.push(json)?;
    Ok(decoder.single())
}

fn empty(datatype: Datatype) -> Data {
    match datatype {
        Datatype::Bool => Data::Bool(Vec::new()),
        Datatype::Uint8 => Data::Uint8(Vec::new()),
        Datatype::Uint16 => Data::Uint16(Vec::new()),
        Datatype::Uint32 => Data::Uint32(Vec::new()),
        Datatype::Uint64 => Data::Uint64(Vec::new()),
        Datatype::Int8 => Data::Int8(Vec::new()),
        Datatype::Int16 => Data::Int16(Vec::new()),
        Datatype::Int32 => Data::Int32(Vec::new()),
        Datatype::Int64 => Data::Int64(Vec::new()),
        Datatype::Fp16 => Data::Fp16(Vec::new()),
        Datatype::Bf16 => Data::Bf16(Vec::new()),
        Datatype::Fp32 => Data::Fp32(Vec::new()),
        Datatype::Fp64 => Data::Fp64(Vec::new()),
        Datatype::Bytes => Data::Bytes(Vec::new()),
    }
}

fn flatten<T: Element>(json: &RawValue, values: &mut Vec<T>) -> Result<Vec<usize>, String> {
    let mut walk = Walk { values, shape: Vec::new(), leaf_depth: None, fault: None };
    let mut json = Deserializer::from_str(json.get());
    let walked = Level { walk: &mut walk, depth: 0 }.deserialize(&mut json);
    match walked {
        Ok(()) => Ok(walk.shape.into_iter().map(Option::unwrap_or_default).collect()),
        Err(error) => Err(walk.fault.unwrap_or_else(|| error.to_string())),
    }
}

/// The state of one walk through nested arrays.
struct Walk<'a, T> {
    values: &'a mut Vec<T>,
    /// Number of children at each depth; `None` while the first array of that depth is being read.
    shape: Vec<Option<usize>>,
    /// Depth at which scalars stand.
    leaf_depth: Option<usize>,
    /// What is wrong, in words that don't depend on the JSON library's.
    fault: Option<String>,
}

struct Level<'a, 'b, T> {
    walk: &'a mut Walk<'b, T>,
    depth: usize,
}

impl<T: Element> Level<'_, '_, T> {
    fn fail<E: serde::de::Error>(self, fault: String) -> E {
        self.walk.fault = Some(fault);
        E::custom("")
    }

    fn leaf<E: serde::de::Error>(self, scalar: Scalar<'_>) -> Result<(), E> {
        let uneven = *self.walk.leaf_depth.get_or_insert(self.depth) != self.depth
            || self.walk.shape.len() > self.depth;
        if uneven {
            return Err(self.fail(
                "its rows are nested unevenly: arrays and single values stand side by side".to_owned(),
            ));
        }
        match T::from_scalar(&scalar) {
            Some(value) => {
                self.walk.values.push(value);
                Ok(())
            }
            None => {
                let fault = format!("expected {}, got {scalar}", T::EXPECTED);
                Err(self.fail(fault))
            }
        }
    }
}

impl<'de, T: Element> DeserializeSeed<'de> for Level<'_, '_, T> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Element> Visitor<'de> for Level<'_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.leaf(Scalar::Bool(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.leaf(Scalar::Unsigned(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.leaf(Scalar::Signed(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.leaf(Scalar::Float(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.leaf(Scalar::Text(value))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.leaf(Scalar::Null)
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        let fault = format!("expected {}, got an object", T::EXPECTED);
        Err(self.fail(fault))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Self { walk, depth } = self;
        if depth >= MAX_RANK {
            walk.fault = Some(format!("is nested deeper than {MAX_RANK} arrays"));
            return Err(A::Error::custom(""));
        }
        if walk.leaf_depth.is_some_and(|leaf| leaf <= depth) {
            walk.fault =
                Some("its rows are nested unevenly: arrays and single values stand side by side".to_owned());
            return Err(A::Error::custom(""));
        }
        if walk.shape.len() == depth {
            walk.shape.push(None);
        }
        let mut count = 0;
        while elements.next_element_seed(Level { walk: &mut *walk, depth: depth + 1 })?.is_some() {
            count += 1;
        }
        match walk.shape[depth] {
            Some(before) if before != count => {
                walk.fault = Some(format!(
                    "its rows differ in length: one has {before} values, another one has {count}"
                ));
                Err(A::Error::custom(""))
            }
            _ => {
                walk.shape[depth] = Some(count);
                Ok(())
            }
        }
    }
}

/// A JSON value that is not an array.
#[derive(Clone, Copy)]
enum Scalar<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'a str),
}

impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Unsigned(value) => value.fmt(f),
            Self::Signed(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => {
                let shown: String = value.chars().take(40).collect();
                write!(f, "the string {shown:?}")
            }
        }
    }
}

trait Element: Sized {
    const EXPECTED: &'static str;
    fn from_scalar(scalar: &Scalar<'_>) -> Option<Self>;
}

macro_rules! integer {
    ($($element:ty, $expected:literal;)*) => {$(
        impl Element for $element {
            const EXPECTED: &'static str = $expected;

            fn from_scalar(scalar: &Scalar<'_>) -> Option<Self> {
                match *scalar {
                    Scalar::Unsigned(value) => value.try_into().ok(),
                    Scalar::Signed(value) => value.try_into().ok(),
                    // JSON writers of dynamic languages write 3 as 3.0. Beyond 2^53 a float is not exact.
                    Scalar::Float(value) if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 => {
                        (value as i64).try_into().ok()
                    }
                    _ => None,
                }
            }
        }
    )*};
}

integer! {
    u8, "UINT8 integers (0 to 255)";
    u16, "UINT16 integers (0 to 65535)";
    u32, "UINT32 integers (0 to 4294967295)";
    u64, "UINT64 integers (0 to 18446744073709551615)";
    i8, "INT8 integers (-128 to 127)";
    i16, "INT16 integers (-32768 to 32767)";
    i32, "INT32 integers (-2147483648 to 2147483647)";
    i64, "INT64 integers (-9223372036854775808 to 9223372036854775807)";
}

macro_rules! float {
    ($($element:ty, $expected:literal, $convert:expr;)*) => {$(
        impl Element for $element {
            const EXPECTED: &'static str = $expected;

            fn from_scalar(scalar: &Scalar<'_>) -> Option<Self> {
                let convert: fn(f64) -> Self = $convert;
                match *scalar {
                    Scalar::Unsigned(value) => Some(convert(value as f64)),
                    Scalar::Signed(value) => Some(convert(value as f64)),
                    Scalar::Float(value) => Some(convert(value)),
                    // The missing value of data frames written as JSON.
                    Scalar::Null => Some(convert(f64::NAN)),
                    _ => None,
                }
            }
        }
    )*};
}

float! {
    f16, "FP16 numbers", f16::from_f64;
    bf16, "BF16 numbers", bf16::from_f64;
    f32, "FP32 numbers", |value| value as f32;
    f64, "FP64 numbers", |value| value;
}

impl Element for bool {
    const EXPECTED: &'static str = "BOOL values (true, false, 0 or 1)";

    fn from_scalar(scalar: &Scalar<'_>) -> Option<Self> {
        match scalar {
            Scalar::Bool(value) => Some(*value),
            Scalar::Unsigned(0) => Some(false),
            Scalar::Unsigned(1) => Some(true),
            _ => None,
        }
    }
}

impl Element for String {
    const EXPECTED: &'static str = "BYTES values (strings)";

    fn from_scalar(scalar: &Scalar<'_>) -> Option<Self> {
        match scalar {
            Scalar::Text(value) => Some((*value).to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(json: &str, datatype: Datatype) -> Result<Tensor, String> {
        tensor(&RawValue::from_string(json.to_owned()).unwrap(), datatype)
    }

    fn is(json: &str, shape: &[usize], data: Data) {
        assert_eq!(decoded(json, data.datatype()), Ok(Tensor { shape: shape.to_vec(), data }), "{json}");
    }

    fn fails(json: &str, datatype: Datatype, expected: &str) {
        let fault = decoded(json, datatype).expect_err(json);
        assert!(fault.contains(expected), "{json}: {fault}");
    }

    /// A client's rows must arrive as the numbers that it sent.
    #[test]
    fn nested_arrays_become_flat_tensors() {
        is("[[1,2],[3,4.5]]", &[2, 2], Data::Fp32(vec![1.0, 2.0, 3.0, 4.5]));
        is("[[[1],[2]]]", &[1, 2, 1], Data::Int64(vec![1, 2]));
        is("7", &[], Data::Uint8(vec![7]));
        is("[]", &[0], Data::Fp32(vec![]));
        is("[[],[]]", &[2, 0], Data::Fp32(vec![]));
        is("[3.0, -4.0]", &[2], Data::Int8(vec![3, -4]));
        is("[true, 0, 1]", &[3], Data::Bool(vec![true, false, true]));
        is(r#"["ä", "\"", ""]"#, &[3], Data::Bytes(vec!["ä".into(), "\"".into(), String::new()]));
        is("[18446744073709551615]", &[1], Data::Uint64(vec![u64::MAX]));
        is("[-9223372036854775808]", &[1], Data::Int64(vec![i64::MIN]));
        is("[0.5]", &[1], Data::Fp16(vec![f16::from_f64(0.5)]));
    }

    /// Pandas writes a missing value as null; tree models take it as NaN.
    #[test]
    fn null_is_not_a_number() {
        let Ok(Tensor { data: Data::Fp32(values), .. }) = decoded("[null]", Datatype::Fp32) else { panic!() };
        assert!(values[0].is_nan());
        fails("[null]", Datatype::Int64, "got null");
    }

    /// A wrong row must be refused in words that say what to change, never be cast or cut silently.
    #[test]
    fn faults_are_named() {
        fails("[[1,2],[3]]", Datatype::Fp32, "one has 2 values, another one has 1");
        fails("[[1],2]", Datatype::Fp32, "nested unevenly");
        fails("[1,[2]]", Datatype::Fp32, "nested unevenly");
        fails("[[],1]", Datatype::Fp32, "nested unevenly");
        fails("[1.5]", Datatype::Int32, "expected INT32 integers (-2147483648 to 2147483647), got 1.5");
        fails("[300]", Datatype::Uint8, "got 300");
        fails("[-1]", Datatype::Uint64, "got -1");
        fails(r#"["x"]"#, Datatype::Fp64, r#"got the string "x""#);
        fails("[1]", Datatype::Bytes, "expected BYTES values (strings), got 1");
        fails("[2]", Datatype::Bool, "got 2");
        fails(r#"[{"a":1}]"#, Datatype::Fp32, "got an object");
        fails(&format!("{}{}", "[".repeat(20), "]".repeat(20)), Datatype::Fp32, "deeper than 16");
    }
}
