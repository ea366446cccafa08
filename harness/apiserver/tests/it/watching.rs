//! Watches: order, restart, compaction, and clients that do not read.

use std::pin::pin;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    runtime::{WatchStreamExt as _, reflector, watcher},
};
use serde_json::json;
use tokio::time::timeout;
use windtunnel_apiserver::{ApiServer, Options};

use crate::{DEADLINE, call, server};

fn map(name: &str) -> ConfigMap {
    serde_json::from_value(
        json!({"metadata": {"name": name, "labels": {"watched": "yes"}}, "data": {"k": "0"}}),
    )
    .unwrap()
}

async fn set(maps: &Api<ConfigMap>, name: &str, value: usize) {
    let patch = json!({"data": {"k": value.to_string()}});
    maps.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

async fn reflects_everything(config: watcher::Config) {
    let server = server();
    let maps: Api<ConfigMap> = Api::namespaced(server.client(), "default");
    maps.create(&PostParams::default(), &map("before")).await.unwrap();
    let (store, writer) = reflector::store();
    let stream = watcher(maps.clone(), config.labels("watched=yes")).reflect(writer).applied_objects();
    let mut stream = pin!(stream);
    let first = timeout(DEADLINE, stream.try_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.name_any(), "before");
    maps.create(&PostParams::default(), &map("after")).await.unwrap();
    set(&maps, "after", 1).await;
    loop {
        let next = timeout(DEADLINE, stream.try_next()).await.unwrap().unwrap().unwrap();
        if next.name_any() == "after" && next.data.unwrap()["k"] == "1" {
            break;
        }
    }
    assert_eq!(store.state().len(), 2, "a controller would work on half of the world");
}

#[tokio::test]
async fn a_reflector_sees_what_is_there_and_what_comes() {
    reflects_everything(watcher::Config::default()).await;
}

#[tokio::test]
async fn a_streaming_list_does_too() {
    reflects_everything(watcher::Config::default().streaming_lists()).await;
}

#[tokio::test]
async fn a_reflector_survives_the_compaction_of_what_it_missed() {
    let server = ApiServer::new(Options { event_log_capacity: 4, seed: Some(1), ..Options::default() });
    let maps: Api<ConfigMap> = Api::namespaced(server.client(), "default");
    maps.create(&PostParams::default(), &map("a")).await.unwrap();
    let (store, writer) = reflector::store();
    let mut stream = pin!(
        watcher(maps.clone(), watcher::Config::default().labels("watched=yes"))
            .reflect(writer)
            .default_backoff()
    );
    while !matches!(timeout(DEADLINE, stream.next()).await.unwrap(), Some(Ok(watcher::Event::InitDone))) {}
    // The stream is not read while ten times the log's capacity goes by.
    for value in 1..=40 {
        set(&maps, "a", value).await;
    }
    let mut failures = 0;
    loop {
        match timeout(DEADLINE, stream.next()).await.unwrap().unwrap() {
            Ok(_) => {}
            Err(_) => failures += 1,
        }
        let seen = store.state();
        if seen.iter().any(|map| map.data.as_ref().is_some_and(|data| data["k"] == "40")) {
            break;
        }
    }
    assert_eq!(failures, 1, "410 Gone once, then a fresh list");
}

/// If this fails a client that reads a long list slowly gets half of it, or none.
#[tokio::test]
async fn a_page_of_a_compacted_list_says_how_to_go_on() {
    let server = ApiServer::new(Options { event_log_capacity: 4, seed: Some(1), ..Options::default() });
    let maps: Api<ConfigMap> = Api::namespaced(server.client(), "default");
    for name in ["a", "b", "c", "d"] {
        maps.create(&PostParams::default(), &map(name)).await.unwrap();
    }
    let watched = ListParams::default().labels("watched=yes");
    let first = maps.list(&watched.clone().limit(2)).await.unwrap();
    let token = first.metadata.continue_.unwrap();
    maps.delete("c", &Default::default()).await.unwrap();
    for value in 1..=8 {
        set(&maps, "d", value).await;
    }
    let (code, status) = call(
        &server,
        "GET",
        &format!(
            "/api/v1/namespaces/default/configmaps?labelSelector=watched%3Dyes&limit=2&continue={token}"
        ),
        None,
    )
    .await;
    assert_eq!((code, status["reason"].as_str()), (410, Some("Expired")), "{status}");
    let going_on = status["metadata"]["continue"].as_str().expect("a token for the rest");
    assert_ne!(going_on, token);
    let rest = maps.list(&watched.clone().limit(9).continue_token(going_on)).await.unwrap();
    let names: Vec<String> = rest.items.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["d"], "what there is now after b");
    assert_eq!(rest.items[0].data.as_ref().unwrap()["k"], "8");
    assert_eq!(rest.metadata.continue_, None);
    // A revision that is asked for exactly is gone, too.
    let old = first.metadata.resource_version.unwrap();
    let path =
        format!("/api/v1/namespaces/default/configmaps?resourceVersionMatch=Exact&resourceVersion={old}");
    let (code, status) = call(&server, "GET", &path, None).await;
    assert_eq!((code, status["reason"].as_str()), (410, Some("Expired")), "{status}");
}

/// If this fails a client that asks a list for what only a watch has is left in the belief that it got it. Words are those of
/// the real server.
#[tokio::test]
async fn lists_refuse_what_contradicts_itself() {
    let server = server();
    let unless = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided";
    for (query, expected) in [
        ("sendInitialEvents=true", "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list".to_owned()),
        (
            "sendInitialEvents=false&resourceVersionMatch=NotOlderThan",
            format!("[{unless}, sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list]"),
        ),
        (
            "resourceVersionMatch=Exact&resourceVersion=0",
            "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"".to_owned(),
        ),
        (
            "resourceVersionMatch=Newest&resourceVersion=1",
            "resourceVersionMatch: Unsupported value: \"Newest\": supported values: \"Exact\", \"NotOlderThan\", \"\"".to_owned(),
        ),
    ] {
        let path = format!("/api/v1/namespaces/default/configmaps?{query}");
        let (code, status) = call(&server, "GET", &path, None).await;
        let message = status["message"].as_str().unwrap_or_default();
        assert_eq!((code, message.split_once(" is invalid: ").map(|(_, why)| why)), (422, Some(&*expected)), "{status}");
    }
}

/// If this fails a reflector that reads in pages, as every informer does, loses objects when the log is compacted
/// between two pages.
#[tokio::test]
async fn a_reflector_reads_on_when_its_pages_are_compacted() {
    let server = ApiServer::new(Options { event_log_capacity: 4, seed: Some(1), ..Options::default() });
    let maps: Api<ConfigMap> = Api::namespaced(server.client(), "default");
    for number in 0..9 {
        maps.create(&PostParams::default(), &map(&format!("m{number}"))).await.unwrap();
    }
    let (store, writer) = reflector::store();
    let config = watcher::Config::default().labels("watched=yes").page_size(2);
    let mut stream = pin!(watcher(maps.clone(), config).reflect(writer).default_backoff());
    let mut value = 0;
    let mut expired = 0;
    // While the first pages are read more is written than the log holds.
    loop {
        match timeout(DEADLINE, stream.next()).await.unwrap().unwrap() {
            Ok(watcher::Event::InitDone) => break,
            Ok(watcher::Event::InitApply(_)) if expired == 0 => {
                for _ in 0..6 {
                    value += 1;
                    set(&maps, "m8", value).await;
                }
            }
            Ok(_) => {}
            Err(_) => expired += 1,
        }
    }
    assert!(expired > 0, "the list was never too old");
    set(&maps, "m8", 1_000).await;
    while !store.state().iter().any(|map| map.data.as_ref().is_some_and(|data| data["k"] == "1000")) {
        timeout(DEADLINE, stream.next()).await.unwrap().unwrap().unwrap();
    }
    assert_eq!(store.state().len(), 9, "a controller would work on part of the world");
}

#[tokio::test]
async fn a_watcher_that_does_not_read_is_told_gone_and_blocks_nobody() {
    let server = ApiServer::new(Options { event_log_capacity: 8, seed: Some(1), ..Options::default() });
    let maps: Api<ConfigMap> = Api::namespaced(server.client(), "default");
    let start = maps.list(&Default::default()).await.unwrap().metadata.resource_version.unwrap();
    let mut lazy = maps.watch(&WatchParams::default(), &start).await.unwrap().boxed();
    maps.create(&PostParams::default(), &map("a")).await.unwrap();
    for value in 0..50 {
        set(&maps, "a", value).await;
    }
    let mut told = None;
    while let Some(event) = timeout(DEADLINE, lazy.next()).await.unwrap() {
        if let WatchEvent::Error(status) = event.unwrap() {
            told = Some(status.code);
        }
    }
    assert_eq!(told, Some(410));
}

#[tokio::test]
async fn changes_of_a_label_enter_and_leave_a_watch() {
    let server = server();
    let maps: Api<ConfigMap> = Api::namespaced(server.client(), "default");
    maps.create(&PostParams::default(), &map("a")).await.unwrap();
    let mut watch = maps.watch(&WatchParams::default().labels("app=x"), "0").await.unwrap().boxed();
    for labels in [json!({"app": "x"}), json!({"app": "y"})] {
        let patch = json!({"metadata": {"labels": labels}});
        maps.patch("a", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }
    let mut kinds = Vec::new();
    while kinds.len() < 2 {
        match timeout(DEADLINE, watch.next()).await.unwrap().unwrap().unwrap() {
            WatchEvent::Added(_) => kinds.push("added"),
            WatchEvent::Modified(_) => kinds.push("modified"),
            WatchEvent::Deleted(_) => kinds.push("deleted"),
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(status) => panic!("{status:?}"),
        }
    }
    assert_eq!(kinds, ["added", "deleted"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_its_time_is_over() {
    let server = server();
    let maps: Api<ConfigMap> = Api::namespaced(server.client(), "default");
    let watch = maps.watch(&WatchParams::default().timeout(200), "0").await.unwrap();
    let events: Vec<_> = watch.try_collect().await.unwrap();
    let bookmarks = events.iter().filter(|event| matches!(event, WatchEvent::Bookmark(_))).count();
    assert!(bookmarks >= 3, "one a minute and a last one: {bookmarks}");
}
