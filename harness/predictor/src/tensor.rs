//! Tensors as the inference protocols see them: a datatype, a shape and the values in row-major order.

use std::fmt;

use half::{bf16, f16};
use serde::{Serialize, Serializer};

macro_rules! datatypes {
    ($($variant:ident $name:literal $element:ty, $doc:literal;)*) => {
        /// An element type, named as the V2 inference protocol names it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Datatype {
            $(#[doc = $doc] $variant,)*
        }

        impl Datatype {
            /// Every datatype.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The protocol's name for it, such as `FP32`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }

        /// The values of a tensor in row-major order.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Data {
            $(#[doc = $doc] $variant(Vec<$element>),)*
        }

        impl Data {
            /// The element type.
            #[must_use]
            pub fn datatype(&self) -> Datatype {
                match self { $(Self::$variant(_) => Datatype::$variant,)* }
            }

            /// Number of elements.
            #[must_use]
            pub fn len(&self) -> usize {
                match self { $(Self::$variant(values) => values.len(),)* }
            }

            /// Whether there is no element.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }
        }
    };
}

datatypes! {
    Bool "BOOL" bool, "Truth values.";
    Uint8 "UINT8" u8, "Unsigned 8-bit integers.";
    Uint16 "UINT16" u16, "Unsigned 16-bit integers.";
    Uint32 "UINT32" u32, "Unsigned 32-bit integers.";
    Uint64 "UINT64" u64, "Unsigned 64-bit integers.";
    Int8 "INT8" i8, "Signed 8-bit integers.";
    Int16 "INT16" i16, "Signed 16-bit integers.";
    Int32 "INT32" i32, "Signed 32-bit integers.";
    Int64 "INT64" i64, "Signed 64-bit integers.";
    Fp16 "FP16" f16, "IEEE half precision numbers.";
    Bf16 "BF16" bf16, "Brain floating point numbers.";
    Fp32 "FP32" f32, "Single precision numbers.";
    Fp64 "FP64" f64, "Double precision numbers.";
    Bytes "BYTES" String, "Texts.";
}

impl Datatype {
    /// The datatype of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|datatype| datatype.name() == name)
    }
}

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Datatype {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Values with a shape; the product of the shape is the number of values.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Sizes, outermost first; empty for a single value.
    pub shape: Vec<usize>,
    /// The values.
    pub data: Data,
}

/// What a model says about one of its inputs or outputs. An output's declaration is a hint only: exporters get it
/// wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TensorSpec {
    /// Name in the model's graph.
    pub name: String,
    /// Element type.
    pub datatype: Datatype,
    /// Sizes, -1 where any will do. Empty also when the model says nothing.
    pub shape: Vec<i64>,
}

/// One output of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Name in the model's graph.
    pub name: String,
    /// What came out.
    pub value: Value,
}

/// What a model returns under one name.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A tensor.
    Tensor(Tensor),
    /// One map a row, as classifiers exported by scikit-learn return for their class probabilities: keys in
    /// ascending order with their values.
    Maps(Vec<Vec<(String, f64)>>),
    /// Several tensors.
    Tensors(Vec<Tensor>),
}
