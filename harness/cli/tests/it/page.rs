//! The report in a real browser.

use std::process::Command;

use windtunnel_testkit::tool;

use super::{file, stderr, windtunnel};

/// A report with an error in its console is a report with a missing chart.
#[test]
fn the_report_opens_without_an_error_in_the_console() {
    let Some(chromium) = tool("chromium") else {
        eprintln!("skipped: chromium is missing; ci/setup installs it where it runs as root");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let output = windtunnel(folder.path())
        .args(["run", "--mode", "sim", &file("scenarios/quickstart.yaml")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let page = folder.path().join("reports/quickstart/report.html");
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(text.len() < 300_000, "{} bytes", text.len());

    let browser = Command::new(chromium)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
        ])
        .args(["--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.path().join("browser").display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    let document = String::from_utf8_lossy(&browser.stdout);
    assert!(document.contains("<svg") && document.contains("quickstart"), "the page did not render");
    let console: Vec<String> =
        stderr(&browser).lines().filter(|line| line.contains(":CONSOLE")).map(str::to_owned).collect();
    assert_eq!(console, Vec::<String>::new(), "the page wrote to the console");
}
