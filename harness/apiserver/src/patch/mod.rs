//! The three patch formats that do not track owners, as pure functions from object and patch to object.

pub(crate) mod json;
pub(crate) mod merge;
pub(crate) mod strategic;

/// Why a patch can't be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PatchError {
    /// The document is no patch of its format.
    Malformed(String),
    /// It does not fit the object; the real server says no more.
    Unfit,
    /// It does or makes too much.
    TooLarge(String),
    /// What the real server answers with 500.
    Internal(String),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::schema::builtin::definition;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map(
                    "(metadata|spec|containers|name|finalizers|env|\\$patch)",
                    inner,
                    0..4
                )
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_merge_patch_applied_twice_is_applied_once(object in any_json(), patch in any_json()) {
            let object = json!({"spec": object});
            if let Ok(once) = merge::apply(&object, &patch) {
                prop_assert_eq!(merge::apply(&once, &patch).unwrap(), once);
            }
        }

        #[test]
        fn no_patch_is_a_crash(object in any_json(), patch in any_json()) {
            let object = json!({"metadata": {"finalizers": ["a/b"]}, "spec": object});
            let _ = strategic::apply(definition("io.k8s.api.core.v1.Pod").unwrap(), &object, &patch);
            let _ = json::apply(&object, &patch);
        }
    }
}
