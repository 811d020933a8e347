use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::ScrapeFile;

fn install(root: &Path) -> Install {
    fs::create_dir_all(root.join("given")).expect("folder");
    let give = |name: &str, text: &str| {
        let path = root.join("given").join(name);
        fs::write(&path, text).expect("write");
        path
    };
    Install {
        root: Some(root.to_owned()),
        binary: give("agent", "binary"),
        arguments: ["--server", "https://h:9750", "--host-name", "a b"]
            .map(str::to_owned)
            .to_vec(),
        token_file: Some(give("token", "fs_1_2")),
        join: None,
        ca_file: Some(give("ca", "pem")),
        proxy_file: Some(give("proxy", "http://u:fs_1_2@p:1")),
        scrape_access: ScrapeAccess {
            tokens: vec![scraped("node", give("node", "fs_1_2"))],
            passwords: vec![scraped("app", give("app", "u:fs_1_2"))],
            authorities: vec![scraped("app", give("app-ca", "pem"))],
        },
        disk_health: true,
    }
}

fn scraped(job: &str, path: PathBuf) -> ScrapeFile {
    let job = job.to_owned();
    ScrapeFile { job, path }
}

/// Every file below a folder, with its permissions.
fn files(root: &Path) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("list") {
            let entry = entry.expect("entry");
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                let mode = entry.metadata().expect("metadata").permissions().mode() & 0o777;
                let path = entry.path().strip_prefix(root).expect("below").display().to_string();
                found.push((path, mode));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn what_was_installed_is_where_it_belongs_and_is_taken_away_without_a_trace() {
    let root = tempfile::tempdir().expect("temporary directory");
    let install = install(root.path());
    let given = files(root.path());
    for _ in 0..2 {
        // A second time over the first is an update.
        for step in install.steps() {
            assert!(step.apply().expect("step"), "{step}");
        }
    }
    let mut expected = given.clone();
    expected.extend([
        ("etc/foreshock-agent/ca.pem".to_owned(), 0o644),
        ("etc/foreshock-agent/proxy".to_owned(), 0o600),
        ("etc/foreshock-agent/scrape-app.password".to_owned(), 0o600),
        ("etc/foreshock-agent/scrape-app.pem".to_owned(), 0o644),
        ("etc/foreshock-agent/scrape-node.token".to_owned(), 0o600),
        ("etc/foreshock-agent/token".to_owned(), 0o600),
        ("etc/systemd/system/foreshock-agent-smart.service".to_owned(), 0o644),
        ("etc/systemd/system/foreshock-agent-smart.timer".to_owned(), 0o644),
        ("etc/systemd/system/foreshock-agent.service".to_owned(), 0o644),
        ("usr/local/bin/foreshock-agent".to_owned(), 0o755),
    ]);
    expected.sort();
    assert_eq!(files(root.path()), expected);
    fs::create_dir_all(root.path().join("var/lib/private/foreshock-agent")).expect("state");
    fs::write(root.path().join("var/lib/private/foreshock-agent/cursor"), "x").expect("state");
    std::os::unix::fs::symlink("private/foreshock-agent", root.path().join("var/lib/foreshock-agent")).expect("link");
    fs::create_dir_all(root.path().join("run/foreshock-agent-smart")).expect("report");
    for step in removal(Some(root.path())) {
        assert!(step.apply().expect("removed"), "{step}");
    }
    assert_eq!(files(root.path()), given);
    // Where nothing is installed there is nothing to remove, and that is no error.
    for step in removal(Some(root.path())) {
        assert!(!step.apply().expect("nothing"), "{step}");
    }
}

#[test]
fn a_dry_run_says_everything_and_an_image_is_not_started() {
    let root = tempfile::tempdir().expect("temporary directory");
    let install = install(root.path());
    let text: String = install.steps().iter().map(ToString::to_string).collect();
    for part in [
        "(mode 0600)",
        "    ExecStart=/usr/local/bin/foreshock-agent run --spool /var/lib/foreshock-agent --server https://h:9750 \
         --host-name \"a b\" --scrape-ca app=/etc/foreshock-agent/scrape-app.pem --ca-file /etc/foreshock-agent/ca.pem \
         --token-file ${CREDENTIALS_DIRECTORY}/token --proxy-file ${CREDENTIALS_DIRECTORY}/proxy \
         --scrape-token node=${CREDENTIALS_DIRECTORY}/scrape-node.token \
         --scrape-password app=${CREDENTIALS_DIRECTORY}/scrape-app.password\n",
        "    LoadCredential=token:/etc/foreshock-agent/token\n    LoadCredential=proxy:/etc/foreshock-agent/proxy\n    \
         LoadCredential=scrape-node.token:/etc/foreshock-agent/scrape-node.token\n    \
         LoadCredential=scrape-app.password:/etc/foreshock-agent/scrape-app.password\n",
    ] {
        assert!(text.contains(part), "{part} not in {text}");
    }
    assert!(!text.contains("fs_1_2"), "the token is not shown");
    assert!(!text.contains("systemctl"), "{text}");
    let here = Install { root: None, ..install };
    let text: String = here.steps().iter().map(ToString::to_string).collect();
    assert!(
        text.ends_with(
            "run systemctl restart foreshock-agent.service\nrun systemctl enable --now foreshock-agent-smart.timer\n"
        ),
        "{text}"
    );
    let without = Install {
        disk_health: false,
        ..here
    };
    let text: String = without.steps().iter().map(ToString::to_string).collect();
    assert!(!text.contains("smart"), "{text}");
    assert!(matches!(removal(None).first(), Some(Step::Run { may_fail: true, .. })));
}

#[test]
fn a_host_joins_when_it_is_installed_and_an_update_keeps_what_it_got() {
    let root = tempfile::tempdir().expect("temporary directory");
    let identity_file = Install::identity_file(Some(root.path()));
    let joins = Install {
        token_file: None,
        join: Some(Join {
            server: crate::Server {
                // Nobody listens there.
                url: "https://user:hidden@127.0.0.1:1".to_owned(),
                identity: crate::Identity {
                    join: Some("fsj_1_2".to_owned()),
                    file: Some(identity_file.clone()),
                    ..crate::Identity::default()
                },
                ..crate::Server::default()
            },
            host: crate::Host::read(&crate::Paths::default(), Some("db-1")),
        }),
        ..install(root.path())
    };
    let steps = joins.steps();
    let text: String = steps.iter().map(ToString::to_string).collect();
    for part in [
        "join https://127.0.0.1:1 as db-1, and keep the certificate in ",
        " --identity-from ${CREDENTIALS_DIRECTORY}/identity.pem ",
        "LoadCredential=identity.pem:/etc/foreshock-agent/identity.pem\n",
    ] {
        assert!(text.contains(part), "{part} not in {text}");
    }
    let told = format!("{text}{steps:?}");
    assert!(!told.contains("fsj_1_2") && !told.contains("hidden"), "{told}");
    let step = steps
        .iter()
        .find(|step| matches!(step, Step::Join(_)))
        .expect("the step");
    let error = step.apply().expect_err("nobody answers");
    assert!(
        matches!(error, InstallError::Join(_)) && error.hint().is_some(),
        "{error}"
    );
    assert!(!crate::chain(&error).contains("hidden"), "{error:?}");
    // The key was made before anybody was asked, and nobody else can read it.
    let asked = identity_file.with_extension("pem.asked");
    let mode = fs::metadata(asked).expect("the key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::write(&identity_file, "as if it had joined").expect("write");
    let update = Install { join: None, ..joins };
    let text: String = update.steps().iter().map(ToString::to_string).collect();
    assert!(text.contains("LoadCredential=identity.pem:"), "{text}");
}

#[test]
fn arguments_cannot_break_out_of_their_line() {
    for (argument, expected) in [
        ("--server", "--server"),
        ("https://h:9750/a%20b", "https://h:9750/a%%20b"),
        ("%d/token", "%%d/token"),
        ("a b", "\"a b\""),
        ("", "\"\""),
        ("$HOME", "\"$$HOME\""),
        ("x\nExecStartPre=/bin/sh", "\"x\\nExecStartPre=/bin/sh\""),
        ("say \"no\\\"", "\"say \\\"no\\\\\\\"\""),
    ] {
        assert_eq!(quoted(argument), expected);
    }
}

#[test]
fn the_packaged_unit_is_the_installed_one_but_for_where_its_options_come_from() {
    let (read, load) = given(&[TOKEN, JOIN, PROXY]);
    let command = format!("/usr/bin/foreshock-agent run --spool /var/lib/foreshock-agent{read} $OPTIONS");
    let inputs = format!("EnvironmentFile=/etc/default/foreshock-agent\n{load}");
    assert_eq!(
        include_str!("../../packaging/foreshock-agent.service"),
        service(&command, &inputs)
    );
    assert_eq!(
        include_str!("../../packaging/foreshock-agent-smart.service"),
        smart_unit("/usr/bin/foreshock-agent")
    );
    assert_eq!(include_str!("../../packaging/foreshock-agent-smart.timer"), TIMER);
}

#[test]
fn home_directories_are_seen_by_who_asks_file_systems_and_by_nobody_else() {
    let home = |unit: &str| {
        let line = unit.lines().find(|line| line.starts_with("ProtectHome="));
        line.expect("it is said").to_owned()
    };
    // With `yes` a /home that is a file system of its own is hidden beneath an empty one.
    assert_eq!(home(&unit("/bin/true", &[], &[])), "ProtectHome=read-only");
    assert_eq!(home(&smart_unit("/bin/true")), "ProtectHome=yes");
}

#[test]
fn systemd_rates_the_units_at_three_or_better() {
    let arguments = ["--server".to_owned(), "https://h".to_owned()];
    rate(UNIT, &unit("/bin/true", &arguments, &[TOKEN, IDENTITY, JOIN, PROXY]));
    rate(SMART_UNIT, &smart_unit("/bin/true"));
}

fn rate(name: &str, text: &str) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join(name);
    fs::write(&path, text).expect("write");
    let analysis = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "--threshold=30"])
        .arg(&path)
        .output();
    // A host without systemd cannot say; the unit's lines are held by the test above.
    let Ok(analysis) = analysis else { return };
    let text = String::from_utf8_lossy(&analysis.stdout);
    if !text.contains("Overall exposure level") {
        return;
    }
    assert!(analysis.status.success(), "{}", text.lines().last().unwrap_or_default());
}
