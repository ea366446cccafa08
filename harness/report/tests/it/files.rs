//! The files of a report.

use std::fs;

use windtunnel_record::result::RunResult;
use windtunnel_report::{IndexEntry, Input, write, write_index};

use crate::flight;
use crate::markup::{shape, without_script};

/// Without it programs cannot read the verdict, or the index leads nowhere.
#[test]
fn all_files_are_written_and_linked() {
    let dir = tempfile::tempdir().expect("a folder");
    let (failed, passed) = (flight::failed(), flight::passed());
    let mut pages = Vec::new();
    for (name, run) in [("one two", &passed), ("other", &failed)] {
        let input = Input {
            scenario: &run.scenario,
            result: &run.result,
            simulated: Some(&run.simulated),
            live: Some(&run.live),
            whole: None,
            counted: None,
        };
        let written = write(&dir.path().join("reports").join(name), &input).expect("written");
        let result: RunResult =
            serde_json::from_slice(&fs::read(&written.json).expect("result.json")).expect("a result");
        assert_eq!(result, run.result);
        assert!(written.junit.is_file() && written.svg.is_some_and(|path| path.is_file()));
        pages.push((&run.result, written.html));
    }
    let entries: Vec<IndexEntry<'_>> =
        pages.iter().map(|(result, page)| IndexEntry { result, page }).collect();
    let index = write_index(&dir.path().join("reports"), &entries).expect("an index");
    let text = fs::read_to_string(&index).expect("the index");
    assert!(text.contains("1 of 2 scenarios failed."));
    let shape = shape(&without_script(&text));
    let pages: Vec<&String> = shape.links.iter().filter(|link| link.starts_with("./")).collect();
    assert_eq!(pages, ["./other/report.html", "./one%20two/report.html"], "failed ones first");
    for page in pages {
        assert!(index.with_file_name("").join(page.replace("%20", " ")).is_file());
    }
}

/// Without it an index of nothing is green.
#[test]
fn an_index_of_nothing_is_inconclusive() {
    let dir = tempfile::tempdir().expect("a folder");
    let index = write_index(dir.path(), &[]).expect("an index");
    assert!(fs::read_to_string(index).expect("the index").contains("INCONCLUSIVE"));
}
