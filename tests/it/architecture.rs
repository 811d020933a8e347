//! The arrows between the crates, as ARCHITECTURE.md draws them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Crate, and which crates of ours it may name in `[dependencies]`.
const ARROWS: &[(&str, &[&str])] = &[
    ("foreshock-wire", &[]),
    ("foreshock-agent", &["foreshock-wire"]),
    ("foreshock-simulate", &["foreshock-wire"]),
    ("foreshock-store", &[]),
    ("foreshock-ingest", &["foreshock-store", "foreshock-wire"]),
    ("foreshock-sql", &["foreshock-store"]),
    ("foreshock-predict", &["foreshock-store"]),
    ("foreshock-bench", &["foreshock-store", "foreshock-wire"]),
    (
        "foreshock-api",
        &[
            "foreshock-predict",
            "foreshock-sql",
            "foreshock-store",
            "foreshock-wire",
        ],
    ),
];

/// A dependency, and the only crates that may name it.
const HOMES: &[(&str, &[&str])] = &[
    ("datafusion", &["foreshock-sql"]),
    ("arrow-flight", &["foreshock-sql"]),
    ("linfa", &["foreshock-predict"]),
    ("linfa-logistic", &["foreshock-predict"]),
    ("smartcore", &["foreshock-predict"]),
    ("axum", &["foreshock-api", "foreshock-ingest"]),
    ("clap", &["foreshock", "foreshock-agent"]),
    ("anyhow", &["foreshock", "foreshock-agent"]),
    ("tracing-subscriber", &["foreshock", "foreshock-agent"]),
];

/// Crates that may stand in the lock file once only.
const ONCE: &[&str] = &[
    "arrow",
    "arrow-flight",
    "parquet",
    "object_store",
    "tonic",
    "prost",
    "datafusion",
];

/// What a fresh machine does not have.
const NEVER: &[&str] = &[
    "aws-lc-sys",
    "openssl-sys",
    "native-tls",
    "cmake",
    "bindgen",
    "prost-build",
    "protobuf-src",
];

#[test]
fn crates_depend_one_way() {
    let normal = dependencies();
    for (name, allowed) in ARROWS {
        let ours: BTreeSet<&str> = normal[*name]
            .iter()
            .map(String::as_str)
            .filter(|d| d.starts_with("foreshock"))
            .collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        assert!(ours.is_subset(&allowed), "{name} names {:?}", ours.difference(&allowed));
    }
    let known: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).chain(["foreshock"]).collect();
    let found: BTreeSet<&str> = normal.keys().map(String::as_str).collect();
    assert_eq!(found, known, "a new crate needs its arrows here and in ARCHITECTURE.md");
}

#[test]
fn heavy_dependencies_stay_at_home() {
    let normal = dependencies();
    for (dependency, homes) in HOMES {
        let users: Vec<&String> = normal
            .iter()
            .filter(|(_, d)| d.contains(*dependency))
            .map(|(name, _)| name)
            .collect();
        assert!(!users.is_empty(), "{dependency} is used by nobody");
        assert!(
            users.iter().all(|u| homes.contains(&u.as_str())),
            "{dependency} is named by {users:?}"
        );
    }
}

#[test]
fn the_lock_file_holds_one_of_each_and_nothing_a_fresh_machine_lacks() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock is checked in");
    let count = |name: &str| lock.matches(&format!("name = \"{name}\"\n")).count();
    for name in ONCE {
        assert!(count(name) <= 1, "{name} stands in Cargo.lock {} times", count(name));
    }
    for name in NEVER {
        assert_eq!(count(name), 0, "{name} needs more than Rust and a C compiler");
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Names in `[dependencies]` and `[build-dependencies]` of each crate of the workspace.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let answer = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&answer.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    packages
        .iter()
        .map(|package| {
            let named = package["dependencies"].as_array().into_iter().flatten();
            let normal = named.filter(|d| d["kind"] != "dev").filter_map(|d| d["name"].as_str());
            (
                package["name"].as_str().unwrap_or("").to_owned(),
                normal.map(str::to_owned).collect(),
            )
        })
        .collect()
}
