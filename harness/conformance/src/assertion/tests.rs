//! What holds and what does not, by hand.

use serde_json::{Value, json};

use super::*;

fn object() -> Value {
    json!({
        "metadata": {"name": "m", "labels": {"app": "isvc.m"}},
        "spec": {"replicas": 2, "containers": [{"name": "a", "image": "x:1"}, {"name": "b", "args": ["--n", "1"]}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    })
}

/// Each tree must hold, or fail at exactly these paths: a tree that holds too easily makes a case that cannot fail.
#[test]
#[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
fn trees_hold_or_say_where_not() {
    #[track_caller]
    fn check_tree(tree: Value, paths: &[&str]) {
        assert_eq!(check(&tree), Ok(()), "{tree}");
        let found: Vec<String> = mismatches(&tree, &object()).into_iter().map(|one| one.path).collect();
        assert_eq!(found, paths, "{tree}");
    }
    check_tree(json!({"metadata": {"name": "m"}}), &[]);
    check_tree(
        json!({"metadata": {"name": "n", "labels": {"app": "isvc.n"}}}),
        &["metadata.name", "metadata.labels.app"],
    );
    check_tree(json!({"metadata": {"annotations": null}, "spec": {"replicas": 2.0}}), &[]);
    check_tree(json!({"spec": {"replicas": null}}), &["spec.replicas"]);
    check_tree(json!({"spec": {"replicas": "2"}}), &["spec.replicas"]);
    check_tree(json!({"spec": {"containers": [{"name": "a"}]}}), &["spec.containers"]);
    check_tree(
        json!({"spec": {"containers": [{"name": "a"}, {"args": ["--n"]}]}}),
        &["spec.containers[1].args"],
    );
    check_tree(json!({"spec": {"containers": {"$name": {"a": {"image": "x:1"}, "c": null}}}}), &[]);
    check_tree(
        json!({"spec": {"containers": {"$name": {"a": {"image": "x:2"}, "b": null, "c": {}}}}}),
        &["spec.containers[name=a].image", "spec.containers[name=b]", "spec.containers[name=c]"],
    );
    check_tree(json!({"status": {"conditions": {"$type": {"Ready": {"status": "True"}}}}}), &[]);
    check_tree(json!({"spec": {"containers": {"$any": {"args": {"$contains": "--n"}}, "$length": 2}}}), &[]);
    check_tree(json!({"spec": {"containers": {"$any": {"image": "y"}}}}), &["spec.containers"]);
    check_tree(
        json!({"spec": {"containers": {"$all": {"image": {"$matches": "^x"}}}}}),
        &["spec.containers[1].image"],
    );
    check_tree(json!({"spec": {"volumes": {"$none": {"name": "a"}}}}), &[]);
    check_tree(json!({"spec": {"volumes": {"$all": {}}}}), &["spec.volumes"]);
    check_tree(json!({"spec": {"containers": {"$none": {"name": "a"}}}}), &["spec.containers[0]"]);
    check_tree(json!({"spec": {"replicas": {"$atLeast": 2, "$atMost": 1}}}), &["spec.replicas"]);
    check_tree(
        json!({"spec": {"replicas": {"$in": [1, 2]}}, "metadata": {"$not": {"name": "m"}}}),
        &["metadata"],
    );
    check_tree(
        json!({"spec": {"nothing": {"$in": [null, ""]}, "replicas": {"$in": [null]}}}),
        &["spec.replicas"],
    );
    check_tree(json!({"metadata": {"labels": {"$exactly": {"app": "isvc.m"}}}}), &[]);
    check_tree(json!({"metadata": {"$exactly": {"name": "m"}}}), &["metadata"]);
    check_tree(
        json!({"spec": {"(size(self.containers))": 2, "(self.nothing)": 1}}),
        &["spec (self.nothing)"],
    );
    check_tree(json!({"spec": {"replicas": {"deeper": 1}}}), &["spec.replicas"]);
    check_tree(json!({"nothing": {"deeper": {"still": null}}}), &[]);
    check_tree(json!({"metadata": {}}), &[]);
    check_tree(json!({"nothing": {}}), &["nothing"]);
}

/// A mistyped operator that is taken for a field would hold for everything or nothing.
#[test]
fn what_is_no_assertion_is_refused() {
    for (tree, said) in [
        (json!({"a": {"$lenght": 1}}), "did you mean $length?"),
        (json!({"a": {"$length": "1"}}), "$length wants a whole number"),
        (json!({"a": {"$matches": "("}}), "$matches wants a regular expression"),
        (json!({"a": {"$name": []}}), "$name wants a mapping"),
        (json!({"a": {"$any": {}, "b": 1}}), "operators stand beside plain keys"),
        (json!({"(1 +)": 1}), "is no CEL expression"),
    ] {
        let error = check(&tree).expect_err("refused");
        assert!(error.contains(said), "{tree}: {error}");
    }
}

/// A reader of a report must see what was there without opening the cluster.
#[test]
fn a_mismatch_reads_as_a_sentence() {
    let tree = json!({"spec": {"containers": {"$name": {"c": {"image": "x"}}}}});
    let found = mismatches(&tree, &object());
    assert_eq!(found[0].to_string(), "spec.containers[name=c]: expected {\"image\":\"x\"}, seen only a, b");
}
