//! What goes in and out of the store in bulk.

use super::*;

#[tokio::test]
async fn samples_are_exported_in_each_format() {
    let server = Server::new();
    let of_a = "match[]=up%7Bhost_name%3D%22a%22%7D&start=1767225540&end=1767225600";
    let answer = server.get(&format!("/api/v1/export?{of_a}")).await;
    assert_eq!(
        answer.body,
        "{\"metric\":{\"__name__\":\"up\",\"host_name\":\"a\",\"job\":\"agent\"},\"values\":[1,1],\
         \"timestamps\":[1767225540000,1767225600000]}\n"
    );
    assert!(answer.header("content-type").starts_with("application/stream+json"));
    let answer = server
        .form("/api/v1/export", &format!("{of_a}&format=openmetrics"))
        .await;
    assert_eq!(
        answer.body,
        "# HELP up Whether it answers\n# TYPE up gauge\nup{host_name=\"a\",job=\"agent\"} 1 1767225540.000\n\
         up{host_name=\"a\",job=\"agent\"} 1 1767225600.000\n# EOF\n"
    );
    let answer = server.get(&format!("/api/v1/export?{of_a}&format=parquet")).await;
    assert!(answer.body.starts_with("PAR1") && answer.body.ends_with("PAR1"));
}

#[tokio::test]
async fn an_export_that_cannot_be_is_refused_before_it_begins() {
    let server = Server::new();
    for (query, part) in [
        ("", "no match[]"),
        ("match[]=up&format=csv", "jsonl, openmetrics, prometheus and parquet"),
        ("match[]=up%5B5m%5D", "match[]"),
        ("match[]=up&start=2&end=1", "before start"),
    ] {
        let answer = server.get(&format!("/api/v1/export?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(answer.body.contains(part), "{part:?} in {}", answer.body);
    }
}

#[tokio::test]
async fn a_backup_lies_beside_the_data_and_is_never_overwritten() {
    let server = Server::new();
    let answer = server.form("/api/v1/admin/store/backup", "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let made = answer.json();
    assert_eq!(
        (&made["name"], &made["tenants"]),
        (&"20260101T000000Z".into(), &serde_json::json!(["default"]))
    );
    let path = std::path::Path::new(made["path"].as_str().expect("a path"));
    assert!(path.join("backup.json").exists());
    // The clock stands still.
    let answer = server.form("/api/v1/admin/tsdb/snapshot", "").await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.body.contains(r#""status":"error""#), "{}", answer.body);
    std::fs::remove_dir_all(path).expect("a folder");
    let answer = server.form("/api/v1/admin/tsdb/snapshot", "").await;
    assert_eq!(
        answer.body,
        r#"{"status":"success","data":{"name":"20260101T000000Z"}}"#
    );
}

#[tokio::test]
async fn deleted_series_are_gone_from_promql_sql_and_lists() {
    let server = Server::new();
    let of_a = "match[]=%7Bhost_name%3D%22a%22%7D";
    let answer = server.form("/api/v1/admin/tsdb/delete_series", of_a).await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::NO_CONTENT, ""));
    for _ in 0..2 {
        let sum = server.get("/api/v1/query?query=count(up)&time=1767225600").await;
        assert!(sum.body.contains(r#"[1767225600,"1"]"#), "{}", sum.body);
        let hosts = server.get("/api/v1/label/host_name/values").await;
        assert_eq!(hosts.body, r#"{"status":"success","data":["b"]}"#);
        let rows = server
            .get("/api/v1/sql?query=SELECT%20count(*)%20AS%20n%20FROM%20samples%20WHERE%20host%20=%20'a'")
            .await;
        assert_eq!(rows.json()["rows"][0]["n"], 0, "{}", rows.body);
        let answer = server.form("/api/v1/admin/tsdb/clean_tombstones", "").await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
    }
    for (form, part) in [("", "no match[]"), ("match[]=up%5B5m%5D", "match[]")] {
        let answer = server.form("/api/v1/admin/tsdb/delete_series", form).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{form}");
        assert!(answer.body.contains(part), "{}", answer.body);
    }
}
