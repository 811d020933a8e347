use super::*;

/// The proxy for a URL in an environment of `NAME=value`s; empty for none.
fn of(environment: &str, url: &str) -> String {
    let find = |name: &str| {
        let pairs = environment.split(';').filter_map(|pair| pair.split_once('='));
        pairs
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
            .next()
    };
    match choose(None, url, find) {
        Ok(proxy) => proxy.map(|proxy| proxy.uri().to_string()).unwrap_or_default(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_environment_is_read_by_scheme_and_then_for_all() {
    let both = "HTTPS_PROXY=http://s:1;HTTP_PROXY=http://h:2;ALL_PROXY=http://a:3";
    for (environment, url, expected) in [
        ("", "https://f.example", ""),
        (both, "https://f.example", "http://s:1/"),
        (both, "http://f.example", "http://h:2/"),
        (
            "https_proxy=http://l:4;HTTPS_PROXY=http://s:1",
            "https://f.example",
            "http://l:4/",
        ),
        ("HTTPS_PROXY=http://s:1", "http://f.example", ""),
        ("ALL_PROXY=http://a:3;HTTPS_PROXY= ", "https://f.example", "http://a:3/"),
        (both, "https://127.0.0.1:9750", ""),
        (both, "https://localhost:9750", ""),
        (
            "HTTPS_PROXY=socks5://u:secret@s:1",
            "https://f.example",
            "proxy \"socks5://...@s:1\" is of a kind that is not spoken",
        ),
        (
            "HTTPS_PROXY=http://",
            "https://f.example",
            "\"http://\" is no proxy: write http://host:port",
        ),
    ] {
        assert_eq!(of(environment, url), expected, "{environment} {url}");
    }
}

#[test]
fn what_is_listed_is_reached_without() {
    let check = |list: &str, url: &str, expected: bool| {
        let without = of(&format!("ALL_PROXY=http://a:3;NO_PROXY={list}"), url).is_empty();
        assert_eq!(without, expected, "{list} {url}");
    };
    for (list, url, expected) in [
        ("f.example", "https://f.example:9750", true),
        ("example", "https://f.example", true),
        (".example", "https://f.example", true),
        ("*.example", "https://f.example", true),
        ("xample", "https://f.example", false),
        ("F.Example", "https://f.example", true),
        ("g.example, f.example", "https://f.example", true),
        ("*", "https://f.example", true),
        ("f.example:443", "https://f.example", true),
        ("f.example:9750", "https://f.example", false),
        ("10.0.0.0/8", "http://10.1.2.3:9750", true),
        ("10.0.0.0/8", "http://11.1.2.3:9750", false),
        ("0.0.0.0/0", "http://11.1.2.3:9750", true),
        ("10.1.2.3", "http://10.1.2.3:9750", true),
        ("10.1.2.3:9750", "http://10.1.2.3:9750", true),
        ("fd00::/8", "http://[fd12::1]:9750", true),
        ("fd00::/129,10.0.0.0/x,/8,:,.", "http://[fd12::1]:9750", false),
        ("", "http://f.example", false),
    ] {
        check(list, url, expected);
    }
}

#[test]
fn a_password_is_neither_said_nor_lost() {
    let proxy = choose(
        Some("http://user:p%40ss@proxy.example:3128"),
        "https://127.0.0.1",
        |_| None,
    );
    let proxy = proxy.expect("a proxy").expect("also to this host, as it was given");
    assert_eq!((proxy.username(), proxy.password()), (Some("user"), Some("p@ss")));
    assert!(has_user("http://user:x@proxy") && !has_user("http://proxy:3128"));
    for bad in ["http://user:secret@", "socks5://user:secret@proxy"] {
        let error = choose(Some(bad), "https://f.example", |_| None)
            .expect_err(bad)
            .to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
