//! What a scraper sees.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use crate::serving::{Running, repository};

/// Dashboards that were made for KServe must find their series here.
#[tokio::test]
async fn kserves_series_and_the_missing_ones() {
    let server = Running::start(repository()).await;
    for _ in 0..3 {
        server.post("/v1/models/sum:predict", r#"{"instances":[[1,2,3,4]]}"#).await;
    }
    server.post("/v1/models/sum:predict", "{bad").await;
    server.post("/v2/models/sum/infer", "{bad").await;
    server.post("/v1/models/unknown:predict", "{}").await;
    let answer = server.get("/metrics").await;
    assert_eq!(answer.response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    for line in [
        "# TYPE request_predict_seconds histogram",
        "request_preprocess_seconds_count{model_name=\"sum\"} 5",
        "request_predict_seconds_count{model_name=\"sum\"} 3",
        "request_predict_seconds_bucket{le=\"+Inf\",model_name=\"sum\"} 3",
        "request_postprocess_seconds_count{model_name=\"sum\"} 3",
        "# TYPE inference_requests_total counter",
        "inference_requests_total{model_name=\"sum\",protocol=\"v1\",code=\"200\"} 3",
        "inference_requests_total{model_name=\"sum\",protocol=\"v1\",code=\"400\"} 1",
        "inference_requests_total{model_name=\"sum\",protocol=\"v2\",code=\"400\"} 1",
        "inference_requests_in_flight{model_name=\"sum\"} 0",
    ] {
        assert!(answer.text.lines().any(|found| found == line), "{line}\n{}", answer.text);
    }
    assert!(!answer.text.contains("unknown"), "names that clients invent must not become series");
    let accepting = Request::get(format!("http://{}/metrics", server.address))
        .header("accept", "application/openmetrics-text; version=1.0.0")
        .body(Full::new(Bytes::new()))
        .unwrap();
    let answer = server.request(accepting).await;
    assert!(
        answer.response.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    assert!(answer.text.ends_with("# EOF\n"));
    server.stop().await;
}
