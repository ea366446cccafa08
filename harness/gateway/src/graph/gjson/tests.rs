//! Upstream's test vectors (tidwall/gjson, gjson_test.go and SYNTAX.md): document, path, and the text that is found.

use rand::{Rng as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;

use super::{evaluate, exists, is_valid, path::split_pipe};

const FRIENDS: &str = r#"{"info":{"friends":[
  {"first":"Dale","last":"Murphy","kind":"Person","cust1":true,"extra":[10,20,30],"details":{"city":"Tempe","state":"Arizona"}},
  {"first":"Roger","last":"Craig","kind":"Person","cust2":false,"extra":[40,50,60],"details":{"city":"Phoenix","state":"Arizona"}}]}}"#;
const SYNTAX: &str = r#"{"name":{"first":"Tom","last":"Anderson"},"age":37,"children":["Sara","Alex","Jack"],"fav.movie":"Deer Hunter",
  "friends":[{"first":"Dale","last":"Murphy","age":44,"nets":["ig","fb","tw"]},{"first":"Roger","last":"Craig","age":68,"nets":["fb","tw"]},
  {"first":"Jane","last":"Murphy","age":47,"nets":["ig","tw"]}]}"#;
const ESCAPES: &str = r#"{"test":{"*":"valZ","*v":"val0","keyv*":"val1","key*v":"val2","keyv?":"val3","key?v":"val4","keyv.":"val5",
  "key.v":"val6","keyk*":{"key?":"val7"}}}"#;
const ARTISTS: &str = r#"{"artists":[["Bob Dylan"],"John Lennon","Mick Jagger","Elton John","Michael Jackson","John Smith",true,123,456,
  false,null]}"#;
const ROLES: &str = r#"{"topology":{"instances":[{"service_version":"1.2.3","service_roles":["one","two"]},
  {"service_version":"1.2.4","service_roles":["three","four"]},{"service_version":"1.2.2","service_roles":["one"]}]}}"#;
const TILDE: &str = r#"{"vals":[{"a":1,"b":"data"},{"a":2,"b":true},{"a":3,"b":false},{"a":4,"b":"0"},{"a":5,"b":0},{"a":6,"b":"1"},
  {"a":7,"b":1},{"a":8,"b":"true"},{"a":9,"b":false},{"a":10,"b":null},{"a":11}]}"#;
const MIXED: &str = r#"[{"a":1},{"a":2,"values":["a","b","c","d","e"]},true,["a","b","c","d","e"],4]"#;
const DECISION: &str = r#"{"decision_picker":"ERROR","key1":{"name":"abc"}}"#;

/// If this fails a condition that works with KServe's router chooses another way with ours.
#[test]
fn paths_find_what_upstream_finds() {
    for (json, path, expected) in [
        (SYNTAX, "age", Some("37")),
        (SYNTAX, "name.last", Some(r#""Anderson""#)),
        (SYNTAX, "children.#", Some("3")),
        (SYNTAX, "children.1", Some(r#""Alex""#)),
        (SYNTAX, "children.3", None),
        (SYNTAX, "child*.2", Some(r#""Jack""#)),
        (SYNTAX, "c?ildren.0", Some(r#""Sara""#)),
        (SYNTAX, r"fav\.movie", Some(r#""Deer Hunter""#)),
        (SYNTAX, "friends.#.age", Some("[44,68,47]")),
        (SYNTAX, r#"friends.#(last=="Murphy").first"#, Some(r#""Dale""#)),
        (SYNTAX, r#"friends.#(last=="Murphy")#.first"#, Some(r#"["Dale","Jane"]"#)),
        (SYNTAX, "friends.#(age>45)#.last", Some(r#"["Craig","Murphy"]"#)),
        (SYNTAX, r#"friends.#(first%"D*").last"#, Some(r#""Murphy""#)),
        (SYNTAX, r#"friends.#(first!%"D*").last"#, Some(r#""Craig""#)),
        (SYNTAX, r#"children.#(!%"*a*")"#, Some(r#""Alex""#)),
        (SYNTAX, r#"children.#(%"*a*")#"#, Some(r#"["Sara","Jack"]"#)),
        (SYNTAX, r#"friends.#(nets.#(=="fb"))#.first"#, Some(r#"["Dale","Roger"]"#)),
        (SYNTAX, r#"friends.#(last="Murphy")#|first"#, None),
        (SYNTAX, r#"friends.#(last="Murphy")#.0"#, Some("[]")),
        (SYNTAX, r#"friends.#(last="Murphy")#|0.age"#, Some("44")),
        (SYNTAX, r#"friends.#(last="Murphy")#.#"#, Some("[]")),
        (SYNTAX, r#"friends.#(last="Murphy")#|#"#, Some("2")),
        (SYNTAX, "children.@reverse", Some(r#"["Jack","Alex","Sara"]"#)),
        (SYNTAX, "children.@reverse.0", Some(r#""Jack""#)),
        (
            SYNTAX,
            r#"{name.first,age,"the_murphys":friends.#(last="Murphy")#.first}"#,
            Some(r#"{"first":"Tom","age":37,"the_murphys":["Dale","Jane"]}"#),
        ),
        (
            SYNTAX,
            r#"{name.first,age,"company":!"Happysoft","employed":!true}"#,
            Some(r#"{"first":"Tom","age":37,"company":"Happysoft","employed":true}"#),
        ),
        (ESCAPES, r"test.\*", Some(r#""valZ""#)),
        (ESCAPES, r"test.\*v", Some(r#""val0""#)),
        (ESCAPES, r"test.keyv\*", Some(r#""val1""#)),
        (ESCAPES, r"test.key\*v", Some(r#""val2""#)),
        (ESCAPES, r"test.keyv\?", Some(r#""val3""#)),
        (ESCAPES, r"test.key\?v", Some(r#""val4""#)),
        (ESCAPES, r"test.keyv\.", Some(r#""val5""#)),
        (ESCAPES, r"test.key\.v", Some(r#""val6""#)),
        (ESCAPES, r"test.keyk\*.key\?", Some(r#""val7""#)),
        (FRIENDS, "info.friends|0|first", Some(r#""Dale""#)),
        (FRIENDS, "info.friends|@reverse|0|extra.0", Some("40")),
        (FRIENDS, r"@ugly|i\nfo|friends.0.first", Some(r#""Dale""#)),
        (FRIENDS, r#"info|friends|#[first="Dale"]|last"#, Some(r#""Murphy""#)),
        (FRIENDS, r#"@ugly.info|@ugly.friends|#[first="Dale"]|last"#, Some(r#""Murphy""#)),
        (FRIENDS, r#"info.friends.#[first="Dale"].extra|0"#, Some("10")),
        (FRIENDS, r#"info.friends.#[details.city="Phoenix"].last"#, Some(r#""Craig""#)),
        (FRIENDS, r#"info.friends.#[kind="Person"]#.kind|0"#, Some(r#""Person""#)),
        (FRIENDS, "info.friends.#.kind|0", Some(r#""Person""#)),
        (FRIENDS, r#"info.friends.#[kind="Person"]#.kind"#, Some(r#"["Person","Person"]"#)),
        (FRIENDS, r#"info.friends.#[kind="Person"]#|kind"#, None),
        (FRIENDS, "info.friends.#|kind", None),
        (FRIENDS, r#"i*.f*.#[kind="Other"]#"#, Some("[]")),
        (FRIENDS, "i*.f*.#[extra.0<11].first", Some(r#""Dale""#)),
        (FRIENDS, "i*.f*.#[extra.0<10].first", None),
        (FRIENDS, "i*.f*.#[extra.0<=10].first", Some(r#""Dale""#)),
        (FRIENDS, "i*.f*.#[extra.0=11].first", None),
        (FRIENDS, "i*.f*.#[extra.0!=10].first", Some(r#""Roger""#)),
        (FRIENDS, "i*.f*.#[extra.0>10].first", Some(r#""Roger""#)),
        (FRIENDS, r#"i*.f*.#[extra.0<"11"].first"#, Some(r#""Dale""#)),
        (FRIENDS, r#"i*.f*.#[first>"Dale"].last"#, Some(r#""Craig""#)),
        (FRIENDS, r#"i*.f*.#[first<"Dale"].last"#, None),
        (FRIENDS, r#"i*.f*.#[first%"*a*"]#|#"#, Some("1")),
        (FRIENDS, r#"i*.f*.#[first%"*e*"]#|#"#, Some("2")),
        (FRIENDS, r#"i*.f*.#[first!%"*e*"]#|#"#, Some("0")),
        (FRIENDS, "i*.f*.#[cust1=true].first", Some(r#""Dale""#)),
        (FRIENDS, "i*.f*.#[cust2!=true].first", Some(r#""Roger""#)),
        (FRIENDS, "i*.f*.#[cust1>true].first", None),
        (FRIENDS, "i*.f*.#[cust1>=true].first", Some(r#""Dale""#)),
        (FRIENDS, "i*.f*.#[cust2<false].first", None),
        (FRIENDS, "i*.f*.#[cust2<=false].first", Some(r#""Roger""#)),
        (FRIENDS, "[]", Some("[]")),
        (FRIENDS, "{}", Some("{}")),
        (FRIENDS, "info.friends.[0.first,1.extra.0]", Some(r#"["Dale",40]"#)),
        (FRIENDS, "info.friends.#.[first,extra.0]", Some(r#"[["Dale",10],["Roger",40]]"#)),
        (ARTISTS, r#"a*.#[0="Bob Dylan"]#|#"#, Some("1")),
        (ARTISTS, r#"a*.#[0="Bob Dylan 2"]#|#"#, Some("0")),
        (ARTISTS, r#"a*.#[%"John*"]#|#"#, Some("2")),
        (ARTISTS, r#"a*.#[_%"John*"]#|#"#, Some("0")),
        (ARTISTS, r#"a*.#[="123"]#|#"#, Some("1")),
        (
            ROLES,
            r#"topology.instances.#( service_roles.#(=="one"))#.service_version"#,
            Some(r#"["1.2.3","1.2.2"]"#),
        ),
        (TILDE, "vals.#(b==~true)#.a", Some("[2,6,7,8]")),
        (TILDE, "vals.#(b!=~true)#.a", Some("[1,3,4,5,9,10,11]")),
        (TILDE, "vals.#(b==~false)#.a", Some("[3,4,5,9,10,11]")),
        (TILDE, "vals.#(b!=~false)#.a", Some("[1,2,6,7,8]")),
        (TILDE, "vals.#(b==~null)#.a", Some("[10,11]")),
        (TILDE, "vals.#(b!=~null)#.a", Some("[1,2,3,4,5,6,7,8,9]")),
        (TILDE, "vals.#(b==~*)#.a", Some("[1,2,3,4,5,6,7,8,9,10]")),
        (TILDE, "vals.#(b!=~*)#.a", Some("[11]")),
        (r#"[{"c":[{"a":10.11}]},{"c":[{"a":11.11}]}]"#, "@ugly|#.c.#[a=10.11]", Some(r#"[{"a":10.11}]"#)),
        (r#"[{"c":[{"a":10.11}]},{"c":[{"a":11.11}]}]"#, "@ugly|#.c.#", Some("[1,1]")),
        (r#"[{"c":[{"a":10.11}]},{"c":[{"a":11.11}]}]"#, "@reverse|0|c|0|a", Some("11.11")),
        (r#"[{"c":[{"a":10.11}]},{"c":[{"a":11.11}]}]"#, "#.c|#", Some("2")),
        (r#"{"@key":"value"}"#, "@key", Some(r#""value""#)),
        (r#"{"@key":"value"}"#, r"\@key", Some(r#""value""#)),
        ("[1,[2],[3,4],[5,[6,[7]]],{},8]", "@flatten", Some("[1,2,3,4,5,[6,[7]],{},8]")),
        ("[1,[2],[3,4],[5,[6,[7]]],{},8]", r#"@flatten:{"deep":true}"#, Some("[1,2,3,4,5,6,7,{},8]")),
        ("[[1],[2,[[],[3]],[4,[5],[],[[[6]]]]]]", r#"@flatten:{"deep":true}"#, Some("[1,2,3,4,5,6]")),
        (r#"[{"a":1,"b":1},{"b":2},5,{"c":3}]"#, "@join", Some(r#"{"a":1,"b":2,"c":3}"#)),
        (r#"[{"a":1,"b":1},{"b":2},5,{"c":3}]"#, r#"@join:{"preserve":true}.b"#, Some("1")),
        (r#"{"first":"Tom","last":"Smith"}"#, "@keys", Some(r#"["first","last"]"#)),
        (r#"{"first":"Tom","last":"Smith"}"#, "@values", Some(r#"["Tom","Smith"]"#)),
        (r#"{"id":1023,"name":"alert"}"#, "@tostr", Some(r#""{\"id\":1023,\"name\":\"alert\"}""#)),
        (r#""{\"id\":1023,\"name\":\"alert\"}""#, "@fromstr.id", Some("1023")),
        (
            r#"{"id":["123","456"],"val":[2,1]}"#,
            "@group",
            Some(r#"[{"id":"123","val":2},{"id":"456","val":1}]"#),
        ),
        (r#"{"a":{"id":1},"b":[{"id":2},{"c":{"id":3}}]}"#, "@dig:id", Some("[1,2,3]")),
        ("[{}", "@valid", None),
        ("[{}]", "@valid", Some("[{}]")),
        ("[]", "#(hello)#", Some("[]")),
        (MIXED, "1.values.@ugly", Some(r#"["a","b","c","d","e"]"#)),
        (MIXED, "1.values.[0,3]", Some(r#"["a","d"]"#)),
        (MIXED, "3.[0,3]", Some(r#"["a","d"]"#)),
        (MIXED, "#.[0,3]", Some(r#"[[],[],[],["a","d"],[]]"#)),
        (
            r#"{"friends":[{"last":"Mur\nphy","age":44},{"last":"Murphy","age":47}]}"#,
            r#"friends.#(last=="Mur\nphy").age"#,
            Some("44"),
        ),
        (r#"{"的情况下解":{"key":1,"的情况":2}}"#, "的情?下解.*?况", Some("2")),
        (r#"{"的情况下解":{"key":1,"的情况":2}}"#, "的情下解.*?况", None),
        (r#"{"key":"caf\u00e9","pair":"\ud83d\udd13"}"#, "[@this].#(key==café).key", Some(r#""caf\u00e9""#)),
        (r#"{"key":"caf\u00e9","pair":"\ud83d\udd13"}"#, "[@this].#(pair==🔓).key", Some(r#""caf\u00e9""#)),
        ("{\"a\":1}\n{\"a\":2}", "..#.a", Some("[1,2]")),
        ("{\"a\":1}\n{\"a\":2}", "..1.a", Some("2")),
        // What KServe's own tests and samples use.
        (DECISION, "[@this].#(decision_picker==ERROR)", Some(DECISION)),
        (DECISION, "[@this].#(decision_picker==SUCCESS)", None),
        (r#"{"instances":[{"modelId":"2"}]}"#, r#"instances.#(modelId=="1")"#, None),
        (r#"{"instances":[{"modelId":"2"}]}"#, r#"instances.#(modelId=="2")"#, Some(r#"{"modelId":"2"}"#)),
        (r#"{"predictions":[{"label":"cat"}]}"#, r#"predictions.#(label=="dog")"#, None),
        (r#"{"a":null}"#, "a", Some("null")),
        (r#"{"a":{"x":1},"a":{"y":2}}"#, "a.y", Some("2")),
        (" 5 ", "@this", Some("5")),
        ("", "@this", None),
        ("{}", "", None),
    ] {
        assert_eq!(evaluate(json, path, 0).as_deref(), expected, "{path} in {json}");
        assert_eq!(exists(json, path), expected.is_some(), "{path} in {json}");
    }
}

/// Upstream's TestSplitPipe.
#[test]
fn a_pipe_inside_of_a_query_is_not_one() {
    for (path, expected) in [
        ("hello", None),
        ("hello.world", None),
        ("hello|world", Some(("hello", "world"))),
        (r"hello\|world", None),
        ("hello.#", None),
        (r#"hello.#[a|1="asdf\"|1324"]#\|that"#, None),
        (
            r#"hello.#[a|1="asdf\"|1324"]#|that.more|yikes"#,
            Some((r#"hello.#[a|1="asdf\"|1324"]#"#, "that.more|yikes")),
        ),
        (r"a.#[]#\|b", None),
    ] {
        assert_eq!(split_pipe(path), expected, "{path}");
    }
}

/// If this fails a body that is not JSON is taken for JSON, or the other way round (RFC 8259).
#[test]
fn validity_is_that_of_the_standard() {
    for good in [
        "{}",
        "[]",
        "0",
        "-0",
        "-1.5e+10",
        "1E5",
        r#""a""#,
        "true",
        "null",
        " [1 , 2] ",
        r#"{"a":{"b":[]},"c":""}"#,
        r#""\u00e9\n\/""#,
        "\"\u{7f}é\"",
    ] {
        assert!(is_valid(good.as_bytes()), "{good}");
    }
    for bad in [
        "",
        " ",
        "{",
        "}",
        "[1,]",
        "[,1]",
        "{,}",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1,}"#,
        "{a:1}",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "+1",
        "tru",
        "nul",
        "'a'",
        "\"a",
        "\"\n\"",
        r#""\x""#,
        r#""\u12g4""#,
        "1 2",
        "[1}",
        "{]",
        "nan",
        "[]]",
        "\"\\",
    ] {
        assert!(!is_valid(bad.as_bytes()), "{bad}");
    }
    let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
    assert!(is_valid(deep.as_bytes()));
    assert!(!is_valid(&deep.as_bytes()[1..]));
    assert!(exists(&deep, "0.0"));
    assert!(exists(&deep, r#"@flatten:{"deep":true}"#));
}

/// If this fails a strange condition or body ends the router. The first lines are inputs that once crashed upstream.
#[test]
fn nothing_makes_it_panic() {
    for (json, path) in [
        (r#"0.#[[{}]].@valid:"000"#, r#"0.#[[{}]].@valid:"000"#),
        (r#"[#.@pretty.@join:{""[]""preserve"3,"][{]]]"#, r#"[#.@pretty.@join:{""[]""preserve"3,"][{]]]"#),
        (r#"["S3O PEDRO DO BUTI\udf93\u1"]"#, "0"),
        (r#"{"bad"#, "bad"),
        (r#"{"ok":"bad"#, "ok"),
        ("[\"é", "#(=\"é\\"),
    ] {
        let _ = evaluate(json, path, 0);
    }
    const PARTS: [&str; 40] = [
        "{",
        "}",
        "[",
        "]",
        "(",
        ")",
        "\"",
        "\\",
        "#",
        ".",
        "|",
        "@",
        ":",
        ",",
        "!",
        "=",
        "<",
        ">",
        "%",
        "~",
        "*",
        "?",
        "a",
        "é",
        "1",
        " ",
        "@this",
        "@flatten",
        "@dig:",
        "@keys",
        "@tostr",
        "@fromstr",
        "@join",
        "@group",
        "null",
        "true",
        "\"a\"",
        "#(",
        "[1]",
        "{\"a\":1}",
    ];
    let mut random = Pcg64Mcg::seed_from_u64(20);
    let mut text = |longest: u32| -> String {
        let length = random.next_u32() % longest;
        (0..length).map(|_| PARTS[random.next_u32() as usize % PARTS.len()]).collect()
    };
    for _ in 0..30_000 {
        let (json, path) = (text(14), text(12));
        let _ = evaluate(&json, &path, 0);
        let _ = evaluate(SYNTAX, &path, 0);
        assert_eq!(
            is_valid(json.as_bytes()),
            serde_json::from_str::<serde::de::IgnoredAny>(&json).is_ok(),
            "{json}"
        );
    }
    let long = "@this|".repeat(50_000) + "a";
    assert!(!exists(r#"{"a":1}"#, &long));
    let nested = "a.".repeat(50_000) + "a";
    assert!(!exists(&("{\"a\":".repeat(50_001) + "1" + &"}".repeat(50_001)), &nested));
}
