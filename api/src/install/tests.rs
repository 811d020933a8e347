use axum::extract::Request;
use axum::http::StatusCode;
use tower::ServiceExt as _;

use super::*;

struct Shop {
    dir: tempfile::TempDir,
    router: Router,
}

fn shop(url: Option<&str>) -> Shop {
    let dir = tempfile::tempdir().expect("temporary directory");
    let binaries = AgentBinaries {
        dir: dir.path().to_owned(),
        own: "x86_64",
        scheme: "http",
        url: url.map(str::to_owned),
    };
    Shop {
        router: binaries.router(),
        dir,
    }
}

impl Shop {
    fn put(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).expect("write");
    }

    async fn ask(&self, path: &str, host: &str) -> (StatusCode, String) {
        let request = Request::builder().uri(path).header("host", host);
        let request = request.body(Body::empty()).expect("request");
        let answer = self.router.clone().oneshot(request).await.expect("answer");
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("body");
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    async fn script(&self) -> String {
        let (status, text) = self.ask("/install.sh", "foreshock.example:9750").await;
        assert_eq!(status, StatusCode::OK, "{text}");
        text
    }
}

#[tokio::test]
async fn the_script_names_this_server_and_the_checksums_of_what_it_has_now() {
    let shop = shop(None);
    let text = shop.script().await;
    assert!(text.contains("SERVER='http://foreshock.example:9750'\n"), "{text}");
    assert!(
        text.contains("SHA256_x86_64=''\n") && text.contains("SHA256_aarch64=''\n"),
        "{text}"
    );
    shop.put("foreshock-agent", "abc");
    // The example of FIPS 180-2, appendix B.1.
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert!(shop.script().await.contains(&format!("SHA256_x86_64='{abc}'\n")));
    // One that says for which machine it is goes before; and a changed file has another sum at once.
    shop.put("foreshock-agent-x86_64", "abcd");
    let text = shop.script().await;
    assert!(!text.contains(abc) && !text.contains("SHA256_x86_64=''"), "{text}");
    assert!(
        !text.contains('@') || !text.contains("@SHA256"),
        "nothing is left to fill in"
    );
}

#[tokio::test]
async fn binaries_come_whole_and_what_is_not_there_is_told() {
    let shop = shop(None);
    let long = "agent ".repeat(50_000);
    shop.put("foreshock-agent-aarch64", &long);
    assert_eq!(shop.ask("/-/agent/aarch64", "h").await, (StatusCode::OK, long));
    for (path, what) in [
        ("/-/agent/x86_64", "x86_64"),
        ("/-/agent/..%2Ftokens.json", "tokens.json"),
        ("/-/agent/riscv64", "riscv64"),
    ] {
        let (status, problem) = shop.ask(path, "h").await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert!(problem.contains(what) && problem.contains("--agent-dir"), "{problem}");
    }
}

#[tokio::test]
async fn nobody_writes_commands_into_the_script() {
    let by_host = shop(None);
    for host in ["h'; rm -rf /; '", "h$(id)", "h h", "", "h\u{e9}"] {
        let (status, problem) = by_host.ask("/install.sh", host).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{host}: {problem}");
    }
    let by_configuration = shop(Some("https://h/'$(id)"));
    assert_eq!(
        by_configuration.ask("/install.sh", "h").await.0,
        StatusCode::BAD_REQUEST
    );
    let told = shop(Some("https://foreshock.example/"));
    assert!(told.script().await.contains("SERVER='https://foreshock.example'\n"));
}
