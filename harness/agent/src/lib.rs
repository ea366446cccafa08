//! Storage: fetches models for a pod before its server starts.
//!
//! [`storage::initialize`] is the storage initializer: it copies what each storage URI names into the folder that
//! the model server reads. [`storage::StorageMap`] stands for remote storage: it leads URI prefixes to local folders.
//!
//! ```
//! use windtunnel_agent::storage::{StorageMap, initialize};
//!
//! # let folder = tempfile::tempdir()?;
//! # let (bucket, volume) = (folder.path().join("bucket"), folder.path().join("volume"));
//! # std::fs::create_dir_all(bucket.join("digits"))?;
//! # std::fs::write(bucket.join("digits/model.onnx"), "weights")?;
//! let map = StorageMap::parse(&format!("s3://models/={}", bucket.display()))?;
//! let fetched = initialize(&[("s3://models/digits".to_owned(), volume.clone())], &map)?;
//! assert_eq!((fetched.models[0].files, fetched.models[0].bytes), (1, 7));
//! assert!(volume.join("model.onnx").is_file());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod storage;
