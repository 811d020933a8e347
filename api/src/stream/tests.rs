use std::io::Read as _;

use axum::body::{HttpBody as _, to_bytes};

use super::*;

const LONG: Option<Duration> = Some(Duration::from_secs(60));

fn slots() -> Slots {
    Slots::new(1, Duration::from_secs(60))
}

/// Writes `count` lines of a thousand bytes.
fn lines(count: usize) -> impl FnOnce(&Deadline, &mut Out) -> Result<(), Problem> + Send + 'static {
    move |_, out| {
        for line in 0..count {
            out.buffer().extend_from_slice(format!("{line:0>999}\n").as_bytes());
            out.settle()?;
        }
        Ok(())
    }
}

fn unpacked(coding: Coding, packed: &[u8]) -> Vec<u8> {
    match coding {
        Coding::Gzip => {
            let mut text = Vec::new();
            flate2::read::GzDecoder::new(packed)
                .read_to_end(&mut text)
                .expect("gzip");
            text
        }
        Coding::Zstd => zstd::stream::decode_all(packed).expect("zstd"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_answer_has_a_length_and_is_left_to_others_to_compress() {
    let answer = slots()
        .stream(Length::Any, LONG, Some(Coding::Gzip), lines(10))
        .await
        .expect("an answer");
    assert_eq!(answer.body.size_hint().exact(), Some(10_000));
    assert!(answer.coding.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_comes_in_pieces_and_unpacks_to_the_same() {
    let plain = slots()
        .stream(Length::Any, LONG, None, lines(3000))
        .await
        .expect("an answer");
    assert_eq!(plain.body.size_hint().exact(), None);
    let plain = to_bytes(plain.body, usize::MAX).await.expect("a whole body");
    assert_eq!(plain.len(), 3_000_000);
    for coding in [Coding::Gzip, Coding::Zstd] {
        let answer = slots()
            .stream(Length::Any, LONG, Some(coding), lines(3000))
            .await
            .expect("an answer");
        let response = answer.into_response("text/plain");
        assert_eq!(response.headers()[CONTENT_ENCODING], coding.name());
        let packed = to_bytes(response.into_body(), usize::MAX).await.expect("a whole body");
        assert!(packed.len() < plain.len() / 10, "{coding:?}: {}", packed.len());
        assert_eq!(unpacked(coding, &packed), plain, "{coding:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn brief_work_is_done_where_it_is_asked_for_and_gives_the_same_bytes() {
    // As a connection's: what the test itself runs on is no thread of the runtime.
    let asked = tokio::spawn(async {
        let here = std::thread::current().id();
        let work = move |deadline: &Deadline, out: &mut Out| {
            assert_eq!(std::thread::current().id(), here);
            lines(3000)(deadline, out)
        };
        let plain = slots()
            .stream(Length::Brief, LONG, None, work)
            .await
            .expect("an answer");
        assert_eq!(plain.body.size_hint().exact(), Some(3_000_000));
        let plain = to_bytes(plain.body, usize::MAX).await.expect("a whole body");
        for coding in [Coding::Gzip, Coding::Zstd] {
            let answer = slots()
                .stream(Length::Brief, LONG, Some(coding), work)
                .await
                .expect("an answer");
            assert_eq!(answer.coding, Some(coding));
            let packed = to_bytes(answer.body, usize::MAX).await.expect("a whole body");
            assert_eq!(unpacked(coding, &packed), plain, "{coding:?}");
        }
        let short = slots()
            .stream(Length::Brief, LONG, Some(Coding::Gzip), lines(10))
            .await
            .expect("an answer");
        assert!(short.coding.is_none());
        let failing = |_: &Deadline, _: &mut Out| Err(Problem::new(Kind::Execution, "no"));
        let failed = slots()
            .stream(Length::Brief, LONG, None, failing)
            .await
            .err()
            .expect("no answer");
        assert_eq!(failed.kind(), Kind::Execution);
    });
    asked.await.expect("no assertion fails");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_early_has_a_status_and_what_fails_late_breaks_off() {
    let failing = |count| {
        move |deadline: &Deadline, out: &mut Out| {
            lines(count)(deadline, out)?;
            Err(Problem::new(Kind::Execution, "no"))
        }
    };
    let early = slots()
        .stream(Length::Any, LONG, None, failing(10))
        .await
        .err()
        .expect("nothing has gone out");
    assert_eq!(early.kind(), Kind::Execution);
    let late = slots()
        .stream(Length::Any, LONG, None, failing(3000))
        .await
        .expect("its first bytes are there");
    assert!(
        to_bytes(late.body, usize::MAX).await.is_err(),
        "the body must not look whole"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_panics_never_looks_whole() {
    let panicking = |deadline: &Deadline, out: &mut Out| {
        lines(3000)(deadline, out)?;
        panic!("in the middle")
    };
    let answer = slots()
        .stream(Length::Any, LONG, None, panicking)
        .await
        .expect("its first bytes are there");
    assert!(to_bytes(answer.body, usize::MAX).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_away_frees_the_slot() {
    let slots = slots();
    let endless = |deadline: &Deadline, out: &mut Out| {
        loop {
            if deadline.is_over() {
                return Err(Problem::new(Kind::Canceled, "over"));
            }
            lines(100)(deadline, out)?;
        }
    };
    let answer = slots
        .stream(Length::Any, None, None, endless)
        .await
        .expect("its first bytes are there");
    drop(answer);
    drop(slots.take().await.expect("the slot is free again"));
}

#[tokio::test(flavor = "multi_thread")]
async fn late_work_is_given_up() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let stuck = move |_: &Deadline, _: &mut Out| released.recv().map_err(|_| Problem::internal("nobody waits"));
    let late = slots()
        .stream(Length::Any, Some(Duration::from_millis(1)), None, stuck)
        .await
        .err();
    assert_eq!(late.expect("past its time").kind(), Kind::Timeout);
    release.send(()).expect("the work waits for this");
}
