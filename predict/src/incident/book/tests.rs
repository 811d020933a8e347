use super::*;

fn incident(id: &str, start: i64, end: Option<i64>) -> Incident {
    Incident {
        id: id.into(),
        host: "a".into(),
        device: Some("GPU-1".into()),
        start,
        end,
        kind: "gpu_ecc".into(),
        source: Source::Hardware,
        verdict: Verdict::Real,
        summary: "XID 48".into(),
    }
}

#[test]
fn incidents_are_kept_changed_and_forgotten() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = State::open(&dir.path().join("state.sqlite")).expect("state");
    let book = IncidentBook::open(&state).expect("book");
    book.declare(&incident("x", 100, None)).expect("declare");
    book.declare_all(&[incident("y", 10, Some(20)), incident("x", 100, None)])
        .expect("declare");
    assert_eq!(book.get("x").expect("x"), incident("x", 100, None));
    let ids = |from, to| {
        book.list(from, to)
            .expect("list")
            .into_iter()
            .map(|i| i.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(0, 1_000), ["y", "x"]);
    assert_eq!(ids(21, 1_000), ["x"]);
    assert_eq!(ids(15, 50), ["y"]);
    book.close("x", 150).expect("close");
    book.judge("x", Verdict::Mitigated).expect("judge");
    let x = book.get("x").expect("x");
    assert_eq!((x.end, x.verdict), (Some(150), Verdict::Mitigated));
    assert!(book.delete("x").expect("delete"));
    assert!(!book.delete("x").expect("delete"));
    assert_eq!(
        book.get("x").expect_err("gone").to_string(),
        "there is no incident \"x\""
    );
    let error = book.close("y", 5).expect_err("ends before it starts");
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        ("invalid", "incident \"y\" is not valid: it ends before it starts")
    );
}
