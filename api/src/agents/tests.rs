use super::*;

const NOW: i64 = 1_800_000_000_000;
const DAY_MS: i64 = 86_400_000;

fn well() -> Agent {
    Agent {
        host: "db-1".to_owned(),
        seen_ms: Some(NOW - 10_000),
        interval_seconds: Some(10.0),
        skew_seconds: Some(0.0),
        spool_batches: Some(1.0),
        ..Agent::default()
    }
}

fn joined() -> Joined {
    Joined {
        tenant: String::new(),
        host: "db-1".to_owned(),
        enrolment: "0123456789abcdef".to_owned(),
        key_sha256: String::new(),
        token: "01234567".to_owned(),
        joined_ms: NOW - 10 * DAY_MS,
        renewed_ms: None,
        not_after_ms: NOW + 20 * DAY_MS,
        revoked_ms: None,
    }
}

#[test]
fn the_gravest_of_what_is_wrong_is_what_is_said() {
    let check = |change: &dyn Fn(&mut Agent), expected: Condition| {
        let mut agent = Agent {
            joined: Some(joined()),
            ..well()
        };
        change(&mut agent);
        assert_eq!(agent.condition(NOW), expected, "{agent:?}");
    };
    let with = |agent: &mut Agent, change: &dyn Fn(&mut Joined)| change(agent.joined.as_mut().expect("joined"));
    check(&|_| {}, Condition::Well);
    check(&|agent| agent.joined = None, Condition::Well);
    check(&|agent| agent.spool_batches = Some(31.0), Condition::Behind);
    check(&|agent| agent.skew_seconds = Some(-6.0), Condition::Skewed);
    let late = |joined: &mut Joined| {
        (joined.joined_ms, joined.not_after_ms) = (NOW - 26 * DAY_MS, NOW + 4 * DAY_MS);
    };
    check(&|agent| with(agent, &late), Condition::Ending);
    // Made anew two days ago, whenever it joined.
    let renewed = |joined: &mut Joined| {
        late(joined);
        joined.renewed_ms = Some(NOW - 2 * DAY_MS);
    };
    check(&|agent| with(agent, &renewed), Condition::Well);
    // Of a life of ninety minutes fifteen are soon, and a day is not.
    let short = |joined: &mut Joined| {
        (joined.joined_ms, joined.not_after_ms) = (NOW - 30 * 60_000, NOW + 60 * 60_000);
    };
    check(&|agent| with(agent, &short), Condition::Well);
    check(&|agent| agent.dropped = 1.0, Condition::Dropping);
    check(&|agent| agent.seen_ms = Some(NOW - SILENT_MS - 1), Condition::Silent);
    // Told to read every five minutes.
    let seldom = |agent: &mut Agent| {
        (agent.seen_ms, agent.interval_seconds) = (Some(NOW - 10 * 60_000), Some(300.0));
    };
    check(&seldom, Condition::Well);
    check(&|agent| agent.seen_ms = None, Condition::Unheard);
    check(
        &|agent| with(agent, &|joined| joined.not_after_ms = NOW - 1),
        Condition::Ended,
    );
    check(
        &|agent| {
            with(agent, &|joined| {
                (joined.not_after_ms, joined.revoked_ms) = (NOW - 1, Some(NOW - 2));
            });
        },
        Condition::Revoked,
    );
}

#[test]
fn whoever_needs_a_look_is_told_what_to_do_and_stands_first() {
    let all = [
        Condition::Revoked,
        Condition::Ended,
        Condition::Unheard,
        Condition::Silent,
        Condition::Dropping,
        Condition::Ending,
        Condition::Skewed,
        Condition::Behind,
        Condition::Well,
    ];
    assert!(all.is_sorted());
    let needy = all.iter().take_while(|condition| condition.needs_a_look()).count();
    assert!(all[needy..].iter().all(|condition| !condition.needs_a_look()));
    assert!(all[..needy].iter().all(|condition| condition.advice().is_some()));
}

#[test]
fn drops_are_counted_over_starts_anew() {
    assert_eq!(risen(&[5.0, 7.0, 7.0, 2.0, 3.0]), 5.0);
    assert_eq!(risen(&[5.0]), 0.0);
    assert_eq!(risen(&[]), 0.0);
    assert_eq!(risen(&[1.0, f64::NAN, 4.0]), 0.0);
}
