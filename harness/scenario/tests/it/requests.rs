//! Request sets.

use serde_json::json;
use windtunnel_scenario::requests::RequestSet;

use crate::room::Room;

/// Requests would carry other rows than the references are for.
#[test]
fn rows_are_taken_in_turn() {
    let room = Room::new();
    let text = "{\"body\": {\"instances\": [[1, 2.5]]}, \"expect\": {\"s3://m/v1\": {\"predictions\": [0]}}}\n\n{\"body\": {\"instances\": [[2]]}}\n";
    let set = RequestSet::load(&room.write("rows.jsonl", text)).expect("two rows");
    assert_eq!(set.len(), 2);
    assert_eq!(set.get(0).payload, "{\"instances\":[[1,2.5]]}");
    assert_eq!(set.get(0).expect["s3://m/v1"], json!({"predictions": [0]}));
    assert_eq!(set.get(1).body, json!({"instances": [[2]]}));
    assert!(set.get(1).expect.is_empty());
    assert_eq!(set.get(2), set.get(0));
    assert_eq!(set.get(u32::MAX), set.get(1));
}

/// A damaged row would be sent as it is and be taken for a fault of the server.
#[test]
fn faulty_rows_are_reported_together() {
    let room = Room::new();
    let text = "{\"body\": {}}\n{\"bdy\": {}}\n[1]\n{\"body\": 1, \"expects\": {}}\n{\"body\": {}, \"expect\": 3}\n{\"body\": \n";
    let faults = RequestSet::load(&room.write("rows.jsonl", text)).expect_err("faulty rows");
    let empty = RequestSet::load(&room.write("empty.jsonl", "\n\n")).expect_err("no rows");
    let absent = RequestSet::load(&room.path().join("absent.jsonl")).expect_err("no file");
    let report = format!("{faults}\n{empty}\n{absent}").replace(&format!("{}/", room.path().display()), "");
    insta::assert_snapshot!(report);
    let many = "x\n".repeat(1_000);
    assert_eq!(RequestSet::load(&room.write("many.jsonl", many)).expect_err("faulty rows").len(), 20);
}
