use super::*;

const OLD_MS: i64 = NOW_MS - 400 * 86_400_000;

impl Server {
    async fn import(&self, body: &str) -> Answer {
        self.send(IMPORT_PATH, &[], body.as_bytes().to_vec()).await
    }
}

#[tokio::test]
async fn json_lines_of_any_age_are_stored() {
    let server = Server::new();
    let body = format!(
        "{{\"metric\":{{\"__name__\":\"up\",\"job\":\"a\"}},\"values\":[1],\"timestamps\":[{NOW_MS}]}}\n\
         {{\"metric\":{{\"job\":\"a\",\"__name__\":\"up\"}},\"values\":[0,null],\"timestamps\":[{OLD_MS},{}]}}\n",
        OLD_MS + 1
    );
    for _ in 0..2 {
        let answer = server.import(&body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let told: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(told, serde_json::json!({ "accepted": 3, "refused": 0, "detail": "" }));
        let old = OLD_MS - NOW_MS;
        assert_eq!(
            server.stored(),
            format!("up{{job=\"a\"}} {old}=0 {}=stale 0=1\n", old + 1)
        );
    }
}

#[tokio::test]
async fn what_is_not_taken_is_told_line_by_line() {
    let server = Server::new();
    let far = NOW_MS + 86_400_000;
    let answer = server
        .import(&format!(
            "nonsense\n{{\"metric\":{{\"job\":\"a\"}},\"values\":[1],\"timestamps\":[1]}}\n\
             {{\"metric\":{{\"__name__\":\"up\"}},\"values\":[1,2],\"timestamps\":[{NOW_MS},{far}]}}\n"
        ))
        .await;
    let told: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!((&told["accepted"], &told["refused"]), (&1.into(), &3.into()), "{told}");
    let detail = told["detail"].as_str().expect("a text");
    for part in ["line 1", "has no name", "too far ahead"] {
        assert!(detail.contains(part), "{part:?} in {detail}");
    }
}

#[tokio::test]
async fn a_body_of_which_nothing_is_taken_is_a_400() {
    let server = Server::new();
    let answer = server.import("nonsense\n").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(
        answer.problem()["detail"]
            .as_str()
            .is_some_and(|text| text.contains("line 1"))
    );
    let answer = server
        .send(IMPORT_PATH, &[("content-encoding", "snappy")], Vec::new())
        .await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}
