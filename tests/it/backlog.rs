//! After an outage an agent sends its newest batch first and the backlog after it: the server takes both, with its defaults.

use wire::metric::{Kind, MetricDef};
use wire::otlp::write::RequestWriter;

use crate::server::Server;

const METRIC: MetricDef = MetricDef {
    name: "after.outage",
    unit: "",
    kind: Kind::Gauge,
    help: "Sent newest first",
};
const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");
const NEWEST_SECONDS: u64 = 1_767_225_600;

#[test]
fn a_backlog_of_a_day_is_taken_after_the_newest_batch() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path());
    let hours = [0, 24, 6, 23, 1];
    for hour in hours {
        let mut body = RequestWriter::new(&[("host.name", "a")], "backlog");
        let at = NEWEST_SECONDS - hour * 3600;
        body.metric(&METRIC).point(&[], 0, at * 1_000_000_000, hour as f64);
        let (status, answer) = server
            .post("/v1/metrics", &[PROTOBUF], &body.finish())
            .expect("an answer");
        // An OTLP answer without a partial success is empty.
        assert_eq!((status, answer.as_str()), (200, ""), "{hour} h old");
    }
    let newest = NEWEST_SECONDS.to_string();
    let answer = server.get("/api/v1/query", &[("query", "after_outage[25h]"), ("time", &newest)]);
    let found: Vec<&str> = answer["data"]["result"][0]["values"]
        .as_array()
        .expect("values")
        .iter()
        .filter_map(|pair| pair[1].as_str())
        .collect();
    assert_eq!(found, ["24", "23", "6", "1", "0"]);
}
