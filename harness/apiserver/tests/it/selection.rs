//! What a list or watch answers to selectors, pages and revisions that are not right, in Kubernetes' words.

use std::time::Duration;

use base64::Engine as _;
use serde_json::json;

use crate::{call, server};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// If this fails a client that sends a bad selector reads another reason than from Kubernetes, or an empty list.
#[tokio::test]
async fn bad_selectors_say_what_is_wrong() {
    let server = server();
    let value = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
    let name = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let labels = [
        ("app in (x", "unable to parse requirement: found '', expected: ',' or ')'".to_owned()),
        ("app in (x y)", "unable to parse requirement: found 'y', expected: ',' or ')'".to_owned()),
        ("app in (x,=)", "unable to parse requirement: found '=', expected: ',', or identifier".to_owned()),
        ("app in (=)", "unable to parse requirement: found '=', expected: ',', ')' or identifier".to_owned()),
        ("-bad=x", format!("unable to parse requirement: <nil>: Invalid value: \"-bad\": {name}")),
        ("app=-x", format!("unable to parse requirement: values[0][app]: Invalid value: \"-x\": {value}")),
        (
            "app notin (y,-x)",
            format!("unable to parse requirement: values[0][app]: Invalid value: \"-x\": {value}"),
        ),
        (
            "app>-x",
            format!(
                "unable to parse requirement: [values[0]: Invalid value: \"-x\": for 'Gt', 'Lt' operators, the value \
must be an integer, values[0][app]: Invalid value: \"-x\": {value}]"
            ),
        ),
    ];
    let only = "is not a known field selector: only \"metadata.name\", \"metadata.namespace\"";
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    let pods = "/api/v1/namespaces/default/pods";
    let fields = [
        (
            MAPS,
            "metadata.name",
            "invalid selector: 'metadata.name'; can't understand 'metadata.name'".to_owned(),
        ),
        (MAPS, "data.v=0", format!("\"data.v\" {only}")),
        (MAPS, "metadata.name=a=b", "invalid field selector: unescaped character in value: 61".to_owned()),
        (MAPS, "metadata.name=a\\x", "invalid field selector: invalid escape sequence: \\x".to_owned()),
        (pods, "spec.bogus=x", "field label not supported: spec.bogus".to_owned()),
        (jobs, "status.failed=1", "field label \"status.failed\" not supported for batchv1.Job".to_owned()),
    ];
    let labels = labels.iter().map(|(text, why)| (MAPS, "labelSelector", *text, why));
    let fields = fields.iter().map(|(path, text, why)| (*path, "fieldSelector", *text, why));
    for (path, option, text, why) in labels.chain(fields) {
        let query: String =
            form_urlencoded::Serializer::new(String::new()).append_pair(option, text).finish();
        for watch in ["", "&watch=true"] {
            let (code, answer) = call(&server, "GET", &format!("{path}?{query}{watch}"), None).await;
            assert_eq!((code, answer["message"].as_str()), (400, Some(why.as_str())), "{text}");
        }
    }
}

/// If this fails a reader of pages gets the wrong page, or is not told why its token is refused.
#[tokio::test]
async fn tokens_begin_within_their_list() {
    let server = server();
    for name in ["a", "b", "c"] {
        let map = json!({"metadata": {"name": name}});
        assert_eq!(call(&server, "POST", MAPS, Some(map)).await.0, 201);
    }
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let (_, first) = call(&server, "GET", &format!("{MAPS}?limit=1"), None).await;
    let token = engine.decode(first["metadata"]["continue"].as_str().unwrap()).unwrap();
    let token: serde_json::Value = serde_json::from_slice(&token).unwrap();
    assert_eq!(token["start"], "a\u{0}", "{token}");
    let (_, first) = call(&server, "GET", "/api/v1/configmaps?limit=1", None).await;
    let token = engine.decode(first["metadata"]["continue"].as_str().unwrap()).unwrap();
    let token: serde_json::Value = serde_json::from_slice(&token).unwrap();
    assert_eq!(token["start"], "default/a\u{0}", "{token}");
    // Without a consistent revision the list goes on with what there is now.
    let token = engine.encode(json!({"v": "meta.k8s.io/v1", "rv": -1, "start": "a\u{0}"}).to_string());
    let (code, rest) = call(&server, "GET", &format!("{MAPS}?limit=1&continue={token}"), None).await;
    assert_eq!((code, &rest["items"][0]["metadata"]["name"]), (200, &json!("b")), "{rest}");
    let bad = "invalid continue token: continue key is not valid";
    for (token, why) in [
        ("garbage!".to_owned(), ": illegal base64 data at input byte 7"),
        ("abcd".to_owned(), ": invalid character 'i' looking for beginning of value"),
        (
            engine.encode(r#"{"v":"x","rv":1,"start":"a"}"#),
            ": server does not recognize this encoded version x",
        ),
        (
            engine.encode(r#"{"v":"meta.k8s.io/v1","rv":0,"start":"a"}"#),
            ": incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
        ),
        (
            engine.encode(r#"{"v":"meta.k8s.io/v1","rv":1,"start":""}"#),
            ": encoded start key empty (version meta.k8s.io/v1)",
        ),
        (engine.encode(r#"{"v":"meta.k8s.io/v1","rv":1,"start":"../x"}"#), ": ../x"),
    ] {
        let (code, answer) = call(&server, "GET", &format!("{MAPS}?limit=1&continue={token}"), None).await;
        assert_eq!((code, answer["message"].as_str()), (400, Some(&*format!("{bad}{why}"))), "{token}");
    }
}

/// If this fails a bad revision is another error than in Kubernetes, or a watch for the future is refused.
#[tokio::test]
async fn revisions_and_numbers_of_a_query() {
    let server = server();
    assert_eq!(call(&server, "POST", MAPS, Some(json!({"metadata": {"name": "a"}}))).await.0, 201);
    let bad = "resourceVersion: Invalid value: \"abc\": strconv.ParseUint: parsing \"abc\": invalid syntax";
    let list_bad = format!("invalid resource version: {bad}");
    let invalid = "ListOptions.meta.k8s.io \"\" is invalid:";
    let both = format!(
        "{invalid} [resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents \
is provided, resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\"]"
    );
    for (path, code, why) in [
        ("?resourceVersion=abc", 400, list_bad.as_str()),
        ("/a?resourceVersion=abc", 500, bad),
        ("?watch=true&resourceVersion=abc", 500, bad),
        (
            "?limit=99999999999999999999",
            400,
            "strconv.ParseInt: parsing \"99999999999999999999\": value out of range",
        ),
        ("?limit=", 400, "strconv.ParseInt: parsing \"\": invalid syntax"),
        ("?watch=true&resourceVersion=1&resourceVersionMatch=Exact", 422, both.as_str()),
    ] {
        let (found, answer) = call(&server, "GET", &format!("{MAPS}{path}"), None).await;
        assert_eq!((found, answer["message"].as_str()), (code, Some(why)), "{path}");
    }
    // A watch of the future is silent until it ends; one that wants the state now but no bookmark gets the state.
    let watch = |query: &str| {
        let path = format!("{MAPS}?watch=true&timeoutSeconds=1&{query}");
        let server = &server;
        async move {
            tokio::time::timeout(Duration::from_secs(10), call(server, "GET", &path, None)).await.unwrap()
        }
    };
    let (code, body) = watch("resourceVersion=999999").await;
    assert_eq!((code, body.as_str()), (200, Some("")), "{body}");
    let (code, body) = watch("sendInitialEvents=true&resourceVersionMatch=NotOlderThan").await;
    let text = body.as_str().unwrap();
    assert!(code == 200 && text.contains("\"ADDED\"") && !text.contains("\"BOOKMARK\""), "{text}");
}
