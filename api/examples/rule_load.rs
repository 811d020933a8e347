//! What rules cost, and how long an alert takes: `cargo run --release -p foreshock-api --example rule_load [RULES] [SERIES]`.
//!
//! First, many rules (10,000) with ten series each over many series (100,000), one round of samples and one evaluation every 15 s of
//! simulated time: how long an evaluation of all rules takes by the clock. Every rule is one of three: an alert that is quiet, one of
//! which a series fires, a recording rule. Then the way from a sample to a webhook in real time: rules every second, `for` 0,
//! group_wait 0.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use foreshock_api::notify::{Courier, Notification, Notifier, Receiver, Settings};
use foreshock_api::rule::{Evaluator, Group, load};
use store::promql::Engine;
use store::{Clock, LabelsBuf, Store, StoreOptions, Tenants};
use tokio::sync::{mpsc, watch};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const INTERVAL_MS: i64 = 15_000;
const ROUNDS: i64 = 6;
/// Rules of one group.
const GROUP: usize = 100;
/// Alerts on their way to the webhook, one after the other.
const ALERTS: usize = 100;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1).map_while(|a| a.parse::<usize>().ok());
    let (rules, series) = (arguments.next().unwrap_or(10_000), arguments.next().unwrap_or(100_000));
    evaluations(rules, series)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(deliveries())
}

fn groups(rules: usize) -> Outcome<Vec<Group>> {
    let rule = |number: usize| {
        let series = format!("load{{rule=\"{number}\"}}");
        match number % 3 {
            0 => format!("  - {{alert: Quiet, expr: '{series} > 2', labels: {{rule: '{number}'}}}}\n"),
            1 => format!("  - {{alert: Fires, expr: '{series} > 0.9', labels: {{rule: '{number}'}}}}\n"),
            _ => format!("  - {{record: 'load:rule{number}', expr: 'sum(rate({series}[1m]))'}}\n"),
        }
    };
    let mut text = "groups:\n".to_owned();
    for (number, first) in (0..rules).step_by(GROUP).enumerate() {
        text.push_str(&format!("- name: group-{number}\n  interval: 15s\n  rules:\n"));
        (first..rules.min(first + GROUP)).for_each(|number| text.push_str(&rule(number)));
    }
    Ok(load(&text, "rule_load")?)
}

/// One round of samples: series n belongs to rule n / 10; of every rule the last series is over 0.9.
fn write(store: &Store, series: usize, at_ms: i64) -> Outcome<()> {
    let mut labels = LabelsBuf::default();
    for first in (0..series).step_by(1000) {
        let mut batch = store.batch();
        for number in first..series.min(first + 1000) {
            labels.clear();
            labels.push("__name__", "load");
            labels.push("host", &format!("host-{}", number % 997));
            labels.push("rule", &(number / 10).to_string());
            labels.push("series", &number.to_string());
            let id = batch.series(&mut labels)?;
            batch.push(id, at_ms, (number % 10) as f64 / 9.5);
        }
        store.append(batch)?;
    }
    Ok(())
}

fn evaluations(rules: usize, series: usize) -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let options = StoreOptions {
        clock: Clock::fixed((ROUNDS + 2) * INTERVAL_MS),
        background: false,
        ..StoreOptions::default()
    };
    let store = Store::open(dir.path(), options)?;
    let engine = Engine::default();
    let mut evaluator = Evaluator::new(groups(rules)?, store.state())?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{rules} rules with 10 series each over {series} series, each 15 s")?;
    let mut slowest = Duration::ZERO;
    for round in 0..ROUNDS {
        let at_ms = round * INTERVAL_MS;
        write(&store, series, at_ms)?;
        let started = Instant::now();
        let transitions = evaluator.tick(&engine, &store, at_ms)?;
        let took = started.elapsed();
        Evaluator::acknowledge(store.state(), &transitions)?;
        writeln!(
            out,
            "evaluation {round}: {:.2} s, {} transitions, {} alerts",
            took.as_secs_f64(),
            transitions.len(),
            evaluator.alerts().count()
        )?;
        slowest = slowest.max(took);
    }
    store.close()?;
    let verdict = if slowest < Duration::from_secs(15) {
        "holds"
    } else {
        "does not hold"
    };
    writeln!(
        out,
        "slowest {:.2} s: within the interval of 15 s: {verdict}",
        slowest.as_secs_f64()
    )?;
    Ok(())
}

/// The way of one alert after the other, each of another host, at moments that drift against the rules' second.
async fn deliveries() -> Outcome<()> {
    let (heard, mut hearing) = mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/hook", listener.local_addr()?);
    let hook = |State(heard): State<mpsc::UnboundedSender<String>>, body: String| async move {
        // Nobody listens any more at the end.
        heard.send(body).ok();
    };
    let router = Router::new().route("/hook", post(hook)).with_state(heard);
    tokio::spawn(async move { axum::serve(listener, router).await });

    let dir = tempfile::tempdir()?;
    let tenants = Tenants::open(dir.path(), StoreOptions::default())?;
    let store = tenants.get_or_create("default")?;
    let mut settings = Settings {
        receivers: vec![Receiver::webhook("hook", &url)?],
        ..Settings::default()
    };
    settings.routing.set_wait_ms(0);
    let notifier = Arc::new(Notifier::new(settings)?);
    let outbox = notifier.outbox(store.state())?;
    let clock = Clock::system();
    let (stop, stopping) = watch::channel(false);
    let served = Arc::clone(&store);
    let courier = Courier::new(Arc::clone(&notifier), clock.clone());
    let courier = tokio::spawn(courier.run(
        move || vec![("default".to_owned(), Arc::clone(&served))],
        stopping.clone(),
    ));

    let rules = load(
        "groups: [{name: g, interval: 1s, rules: [{alert: Hot, expr: hot > 1}]}]",
        "rule_load",
    )?;
    let mut evaluator = Evaluator::new(rules, store.state())?;
    let (their, bell, now) = (Arc::clone(&store), Arc::clone(&notifier), clock.clone());
    let ticking = std::thread::spawn(move || -> Result<(), String> {
        let engine = Engine::default();
        while !*stopping.borrow() {
            let now_ms = now.now_ms();
            let transitions = evaluator
                .tick(&engine, &their, now_ms)
                .map_err(|error| error.to_string())?;
            for transition in &transitions {
                let alert = Notification::of(transition, None);
                outbox
                    .enqueue(their.state(), now_ms, &transition.alert.rule, &alert)
                    .map_err(|error| error.to_string())?;
            }
            Evaluator::acknowledge(their.state(), &transitions).map_err(|error| error.to_string())?;
            bell.ring();
            std::thread::sleep(Duration::from_millis(
                u64::try_from(1000 - now.now_ms() % 1000).unwrap_or(1000),
            ));
        }
        Ok(())
    });

    let mut took = Vec::new();
    for number in 0..ALERTS {
        tokio::time::sleep(Duration::from_millis(37)).await;
        let started = Instant::now();
        let host = format!("host-{number}");
        let mut batch = store.batch();
        let mut labels = LabelsBuf::default();
        labels.push("__name__", "hot");
        labels.push("host", &host);
        let id = batch.series(&mut labels)?;
        batch.push(id, clock.now_ms(), 2.0);
        store.append(batch)?;
        loop {
            let body = tokio::time::timeout(Duration::from_secs(60), hearing.recv()).await?;
            if body.ok_or("the webhook is gone")?.contains(&format!("\"{host}\"")) {
                break;
            }
        }
        took.push(started.elapsed());
    }
    stop.send_replace(true);
    courier.await?;
    ticking.join().map_err(|_| "the rules' thread panicked")??;
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{ALERTS} alerts, from the sample to the webhook: p50 {:.2} s, p95 {:.2} s, slowest {:.2} s",
        at(0.5),
        at(0.95),
        at(1.0)
    )?;
    Ok(())
}
