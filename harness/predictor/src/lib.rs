//! Model server: V1 and V2 inference protocols over ONNX Runtime.
