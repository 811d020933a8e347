use std::io::Read as _;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::routing::get;
use tower::ServiceExt as _;

use super::*;

fn check(header: &str, expected: Option<Coding>) {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_str(header).expect("a header"));
    assert_eq!(accepted(&headers), expected, "{header:?}");
}

#[test]
fn the_best_coding_that_is_taken_is_chosen() {
    check("gzip", Some(Coding::Gzip));
    check("gzip, deflate, br, zstd", Some(Coding::Zstd));
    check("GZIP;q=0.5", Some(Coding::Gzip));
    check("zstd;q=0, gzip;q=1.0", Some(Coding::Gzip));
    check("gzip; q=0", None);
    check("identity", None);
    check("", None);
    assert_eq!(accepted(&HeaderMap::new()), None);
}

async fn ask(path: &str, encoding: &str) -> (Response<()>, Vec<u8>) {
    let json = |length: usize| ([(CONTENT_TYPE, "application/json")], "x".repeat(length));
    let router = Router::new()
        .route("/long", get(move || async move { json(100_000) }))
        .route("/short", get(move || async move { json(100) }))
        .route(
            "/image",
            get(|| async { ([(CONTENT_TYPE, "image/png")], "x".repeat(5000)) }),
        )
        .layer(from_fn(answer));
    let request = Request::get(path)
        .header(ACCEPT_ENCODING, encoding)
        .body(Body::empty())
        .expect("a request");
    let (parts, body) = router.oneshot(request).await.expect("answers").into_parts();
    assert_eq!(parts.status, StatusCode::OK);
    let body = to_bytes(body, 1 << 20).await.expect("a body").to_vec();
    (Response::from_parts(parts, ()), body)
}

#[tokio::test]
async fn long_text_is_compressed_and_nothing_else() {
    let (head, body) = ask("/long", "gzip").await;
    assert_eq!(
        (&head.headers()[CONTENT_ENCODING], &head.headers()[VARY]),
        (
            &HeaderValue::from_static("gzip"),
            &HeaderValue::from_static("accept-encoding")
        )
    );
    let mut text = String::new();
    flate2::read::GzDecoder::new(&body[..])
        .read_to_string(&mut text)
        .expect("gzip");
    assert_eq!((text.len(), body.len() < 1000), (100_000, true));
    let (head, body) = ask("/long", "gzip, zstd").await;
    assert_eq!(head.headers()[CONTENT_ENCODING], "zstd");
    assert_eq!(zstd::bulk::decompress(&body, 200_000).expect("zstd").len(), 100_000);
    for (path, encoding) in [("/long", "br"), ("/short", "gzip"), ("/image", "gzip")] {
        let (head, _) = ask(path, encoding).await;
        assert!(!head.headers().contains_key(CONTENT_ENCODING), "{path} {encoding}");
    }
}
