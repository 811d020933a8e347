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
    book.declare(&incident("x", 100, None), |_| ()).expect("declare");
    book.declare_all(&[incident("y", 10, Some(20)), incident("x", 100, None)], |_| ())
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

#[test]
fn what_is_declared_again_takes_back_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = State::open(&dir.path().join("state.sqlite")).expect("state");
    let book = IncidentBook::open(&state).expect("book");
    let new = incident("x", 100, None);
    assert_eq!(book.declare(&new, |_| unreachable!("it is new")).expect("declare"), new);
    book.close("x", 150).expect("close");
    book.judge("x", Verdict::Noise).expect("judge");
    let judged = book.get("x").expect("x");
    assert_eq!(book.declare(&new, |_| ()).expect("again"), judged);
    let renamed = |known: &mut Incident| {
        known.id = "y".into();
        known.summary = "XID 79".into();
    };
    let again = book.declare_all(&[new], renamed).expect("again");
    let expected = Incident {
        summary: "XID 79".into(),
        ..judged
    };
    assert_eq!(again, std::slice::from_ref(&expected));
    assert_eq!(book.all().expect("all"), [expected]);
}

#[test]
fn of_several_incidents_all_are_written_or_none() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = State::open(&dir.path().join("state.sqlite")).expect("state");
    let book = IncidentBook::open(&state).expect("book");
    let error = book.declare_all(&[incident("x", 100, None), incident("y", 100, Some(50))], |_| ());
    assert_eq!(error.expect_err("y ends before it starts").kind(), "invalid");
    assert_eq!(book.all().expect("all"), []);
}

#[test]
fn who_changes_different_things_at_the_same_time_loses_neither() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = State::open(&dir.path().join("state.sqlite")).expect("state");
    let book = IncidentBook::open(&state).expect("book");
    let together = std::sync::Barrier::new(2);
    // Any one of them may happen to be changed by one after the other.
    let ids: Vec<String> = (0..30).map(|i| i.to_string()).collect();
    for id in &ids {
        book.declare(&incident(id, 100, None), |_| ()).expect("declare");
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for id in &ids {
                together.wait();
                book.close(id, 150).expect("close");
            }
        });
        for id in &ids {
            together.wait();
            book.judge(id, Verdict::Noise).expect("judge");
        }
    });
    for incident in book.all().expect("all") {
        assert_eq!(
            (incident.end, incident.verdict),
            (Some(150), Verdict::Noise),
            "{incident:?}"
        );
    }
}
