//! How the agent comes to a host: the script that the server gives, and the Debian package.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::server::Server;

/// Stands for the agent's binary: it writes down with what it was called, and installs itself as far as that is looked at.
const FAKE_AGENT: &str = r#"#!/bin/sh
printf '%s\n' "$*" >> "$CALLS"
[ -z "${FORESHOCK_JOIN:-}" ] || printf '%s\n' "$FORESHOCK_JOIN" > "$CALLS.join"
root=/nowhere
while [ $# -gt 0 ]; do
    case $1 in --root) root=$2 ;; esac
    case $1 in --uninstall) gone=yes ;; esac
    case $1 in --token-file) cp "$2" "$CALLS.token" ;; esac
    case $1 in --dry-run) exit 0 ;; esac
    shift
done
if [ -n "${gone:-}" ]; then rm "$root/usr/local/bin/foreshock-agent"; exit; fi
mkdir -p "$root/usr/local/bin"
cp "$0" "$root/usr/local/bin/foreshock-agent"
"#;

#[test]
fn the_servers_script_installs_what_has_the_right_checksum_and_takes_it_away() {
    let dir = tempfile::tempdir().expect("a directory");
    let agents = dir.path().join("agents");
    fs::create_dir(&agents).expect("a folder");
    let name = format!("foreshock-agent-{}", std::env::consts::ARCH);
    fs::write(agents.join(&name), FAKE_AGENT).expect("write");
    let agent_dir = agents.to_str().expect("a plain path");
    let server = Server::start_with(&dir.path().join("data"), &["--agent-dir", agent_dir]);
    let script = dir.path().join("install.sh");
    fs::write(&script, get(&format!("{}/install.sh", server.url))).expect("write");
    let host = Host {
        script,
        root: dir.path().join("root"),
        calls: dir.path().join("calls"),
    };

    let out = host.run(&["--dry-run"], &[]);
    let said = text(&out.stdout);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let fetched = format!("fetch {}/-/agent/{}", server.url, std::env::consts::ARCH);
    assert!(
        said.contains(&fetched) && said.contains("compare it with the SHA-256 ") && said.contains("install --server"),
        "{said}"
    );
    assert!(!host.root.exists() && host.calls().is_empty(), "a dry run does nothing");

    if !["curl", "wget"].iter().any(|program| has(program)) {
        // Such a host is told to fetch the agent by other means, which is what follows.
        assert!(text(&host.run(&[], &[]).stderr).contains("neither curl nor wget"));
    } else {
        let out = host.run(&["--", "--interval", "30s"], &[("FORESHOCK_TOKEN", "fs_1_2")]);
        assert!(out.status.success(), "{}", text(&out.stderr));
        let calls = host.calls();
        assert!(
            calls.starts_with(&format!("install --server {} --interval 30s --token-file ", server.url)),
            "{calls}"
        );
        assert!(!calls.contains("fs_1_2"), "the token is on no command line");
        assert_eq!(
            fs::read_to_string(dir.path().join("calls.token")).expect("the token"),
            "fs_1_2\n"
        );
        assert!(host.installed().exists());
        let out = host.run(&["--join", "fsj_1_2"], &[]);
        assert!(out.status.success(), "{}", text(&out.stderr));
        assert!(!host.calls().contains("fsj_1_2"), "nor is a join token");
        let given = fs::read_to_string(dir.path().join("calls.join")).expect("the join token");
        assert_eq!(given, "fsj_1_2\n");
    }

    // Another file than the one that the server vouches for is not run.
    let other = dir.path().join("other");
    fs::write(&other, "#!/bin/sh\nexit 0\n").expect("write");
    let before = host.calls();
    let out = host.run(&["--binary", other.to_str().expect("a plain path")], &[]);
    assert!(!out.status.success());
    assert!(text(&out.stderr).contains("nothing was done"), "{}", text(&out.stderr));
    assert_eq!(host.calls(), before);
    // Without a network: the binary is at hand, and has the checksum that the server wrote into the script.
    let own = agents.join(&name);
    let out = host.run(&["--binary", own.to_str().expect("a plain path")], &[]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(host.installed().exists());

    let out = host.run(&["--uninstall"], &[]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(!host.installed().exists());
    let out = host.run(&["--uninstall"], &[]);
    assert!(out.status.success() && text(&out.stdout).contains("nothing to take away"));
    let out = host.run(&["--frobnicate"], &[]);
    assert!(!out.status.success() && text(&out.stderr).contains("--frobnicate is no option"));
}

#[test]
fn a_pinned_server_gives_the_script_its_agent_and_another_does_not() {
    if !["curl", "wget"].iter().any(|program| has(program)) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let agents = dir.path().join("agents");
    fs::create_dir(&agents).expect("a folder");
    fs::write(agents.join("foreshock-agent"), FAKE_AGENT).expect("write");
    let agent_dir = agents.to_str().expect("a plain path");
    let server = Server::start_with(
        &dir.path().join("data"),
        &["--tls-self-signed", "--agent-dir", agent_dir],
    );
    let pin = server.pin.clone().expect("a pin");
    let script = dir.path().join("install.sh");
    // What the documentation says to do, by the hand of a client that knows the authority.
    fs::write(&script, trusting(&dir.path().join("data/tls/ca.pem"), &server.url)).expect("write");
    let host = Host {
        script,
        root: dir.path().join("root"),
        calls: dir.path().join("calls"),
    };
    let out = host.run(&["--pin", &format!("sha256:{}", "07".repeat(32))], &[]);
    assert!(!out.status.success());
    assert!(
        text(&out.stderr).contains(&format!("has the authority {pin}")),
        "{}",
        text(&out.stderr)
    );
    assert!(host.calls().is_empty());
    let out = host.run(&["--pin", &pin], &[]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(host.calls().contains(&format!("--pin {pin}")), "{}", host.calls());
}

#[test]
fn the_debian_package_installs_and_is_purged_without_leftovers() {
    if !["dpkg", "dpkg-deb"].iter().all(|program| has(program)) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("root");
    let deb = deb(dir.path());
    assert!(
        deb.contains(&format!("foreshock-agent_{}_", env!("CARGO_PKG_VERSION"))),
        "{deb}"
    );
    let depends = run(Command::new("dpkg-deb").args(["-f", &deb, "Depends"]));
    assert_eq!(text(&depends.stdout).trim(), "libc6 (>= 2.34)");

    let database = root.join("var/lib/dpkg");
    for folder in ["info", "updates", "triggers"] {
        fs::create_dir_all(database.join(folder)).expect("a folder");
    }
    fs::write(database.join("status"), "").expect("write");
    fs::write(database.join("available"), "").expect("write");
    let dpkg = |what: &[&str]| {
        // Scripts run outside of the folder, which needs no root and no shell in it; the folder has no libc6.
        run(Command::new("dpkg")
            .arg(format!("--root={}", root.display()))
            .args([
                "--log=/dev/null",
                "--force-script-chrootless",
                "--force-not-root",
                "--force-depends",
            ])
            .args(what));
    };
    dpkg(&["-i", &deb]);
    let mode = |path: &str| {
        fs::metadata(root.join(path))
            .map(|found| found.permissions().mode() & 0o777)
            .ok()
    };
    assert_eq!(mode("usr/bin/foreshock-agent"), Some(0o755));
    assert_eq!(mode("usr/lib/systemd/system/foreshock-agent.service"), Some(0o644));
    for unit in ["service", "timer"] {
        let path = format!("usr/lib/systemd/system/foreshock-agent-smart.{unit}");
        assert_eq!(mode(&path), Some(0o644), "{path}");
    }
    assert_eq!(mode("etc/default/foreshock-agent"), Some(0o644));
    for secret in ["token", "join", "proxy"] {
        let path = format!("etc/foreshock-agent/{secret}");
        assert_eq!(mode(&path), Some(0o600), "for nobody's eyes but root's");
    }
    fs::create_dir_all(root.join("var/lib/private/foreshock-agent")).expect("what the service writes");
    fs::create_dir_all(root.join("run/foreshock-agent-smart")).expect("what the helper writes");
    dpkg(&["--purge", "foreshock-agent"]);
    let left: Vec<PathBuf> = files(&root)
        .into_iter()
        .filter(|path| !path.starts_with(&database))
        .collect();
    assert_eq!(left, [] as [PathBuf; 0]);
}

#[test]
fn the_rpm_holds_what_the_debian_package_holds_and_its_scripts_are_shell() {
    let agent = agent_folder();
    let manifest = fs::read_to_string(agent.join("Cargo.toml")).expect("the agent's manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let rpm = &manifest["package"]["metadata"]["generate-rpm"];
    let text_of = |value: &toml::Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let mut held = Vec::new();
    for asset in rpm["assets"].as_array().expect("assets") {
        let (source, to) = (text_of(asset, "source"), text_of(asset, "dest"));
        let is_built = source.starts_with("target/release/");
        assert!(is_built || agent.join(&source).is_file(), "{source}");
        // What an administrator changes stays at an update.
        let keeps = asset.get("config").and_then(toml::Value::as_str) == Some("noreplace");
        assert_eq!(keeps, to.starts_with("/etc/"), "{to}");
        held.push(format!("{} {to}", text_of(asset, "mode")));
    }
    held.sort();
    for script in ["post_install_script", "pre_uninstall_script", "post_uninstall_script"] {
        run(Command::new("sh").args(["-n", "-c", &text_of(rpm, script)]));
    }
    if !["dpkg", "dpkg-deb"].iter().all(|program| has(program)) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let tree = dir.path().join("tree");
    run(Command::new("dpkg-deb").arg("-x").arg(deb(dir.path())).arg(&tree));
    let mut files: Vec<String> = files(&tree)
        .iter()
        .map(|path| {
            let mode = fs::metadata(path).expect("a file").permissions().mode() & 0o777;
            let at = path.strip_prefix(&tree).expect("below").display().to_string();
            format!("{mode:o} /{at}").replace(
                "/usr/share/doc/foreshock-agent/copyright",
                "/usr/share/licenses/foreshock-agent/LICENSE",
            )
        })
        .collect();
    files.sort();
    assert_eq!(held, files);
}

/// The rpm's scripts as rpm runs them, below a folder that stands for `/`, on a host where systemd runs.
struct Scripts {
    rpm: toml::Value,
    root: PathBuf,
}

impl Scripts {
    /// Runs a script; rpm tells it how many of the package there will be.
    fn run(&self, name: &str, left: u8) {
        let script = self.rpm[name].as_str().expect("a script");
        let below = script.replace(" /", &format!(" {}/", self.root.display()));
        let below = below.replace(&format!("{}/dev/null", self.root.display()), "/dev/null");
        let path = format!("{}:/usr/bin:/bin", self.root.join("bin").display());
        let mut shell = Command::new("sh");
        // Its arguments are the script's name and what rpm gives it.
        shell
            .args(["-e", "-c", &below, name, &left.to_string()])
            .env("PATH", path);
        run(&mut shell);
    }

    /// What systemd was told since this was last asked.
    fn told(&self) -> String {
        let path = self.root.join("told");
        let told = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, "").expect("write");
        told
    }
}

#[test]
fn the_rpms_scripts_keep_secrets_at_an_update_and_leave_nothing_at_the_end() {
    let manifest = fs::read_to_string(agent_folder().join("Cargo.toml")).expect("the agent's manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().to_path_buf();
    let systemctl = root.join("bin/systemctl");
    for folder in [
        "bin",
        "run/systemd/system",
        "etc/default",
        "usr/share/licenses/foreshock-agent",
    ] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    let note = format!("#!/bin/sh\necho \"$*\" >> {}/told\n", root.display());
    fs::write(&systemctl, note).expect("write");
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).expect("mode");
    let scripts = Scripts {
        rpm: manifest["package"]["metadata"]["generate-rpm"].clone(),
        root: root.clone(),
    };
    let before = files(&root);
    let secret = |name: &str| root.join("etc/foreshock-agent").join(name);

    scripts.run("post_install_script", 1);
    let started = "daemon-reload\nenable foreshock-agent.service foreshock-agent-smart.timer\n\
                   restart foreshock-agent.service foreshock-agent-smart.timer\n";
    assert_eq!(scripts.told(), started);
    for name in ["token", "join", "proxy"] {
        let mode = fs::metadata(secret(name)).expect(name).permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    fs::write(secret("token"), "fs_1_2\n").expect("write");
    fs::create_dir_all(root.join("var/lib/private/foreshock-agent")).expect("what the service writes");
    fs::create_dir_all(root.join("run/foreshock-agent-smart")).expect("what the helper writes");

    // The new package's first, then the old one's: rpm's order.
    scripts.run("post_install_script", 2);
    scripts.run("pre_uninstall_script", 1);
    scripts.run("post_uninstall_script", 1);
    assert_eq!(scripts.told(), format!("{started}daemon-reload\n"));
    assert_eq!(fs::read_to_string(secret("token")).expect("the token"), "fs_1_2\n");
    assert!(root.join("var/lib/private/foreshock-agent").exists());

    scripts.run("pre_uninstall_script", 0);
    fs::write(
        root.join("etc/default/foreshock-agent.rpmsave"),
        "options that were changed",
    )
    .expect("write");
    scripts.run("post_uninstall_script", 0);
    let ended = "disable --now foreshock-agent-smart.timer foreshock-agent.service\ndaemon-reload\n";
    assert_eq!(scripts.told(), ended);
    fs::remove_file(root.join("told")).expect("what systemd was told");
    assert_eq!(files(&root), before);
    for gone in [
        "etc/foreshock-agent",
        "usr/share/licenses/foreshock-agent",
        "var/lib/private/foreshock-agent",
    ] {
        assert!(!root.join(gone).exists(), "{gone}");
    }
}

/// The agent's crate.
fn agent_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("ingest/agent")
}

/// Makes the Debian package of something that stands for a binary, and answers where it is.
fn deb(dir: &Path) -> String {
    let binary = dir.join("agent");
    fs::write(&binary, "a binary that asks for GLIBC_2.17 and GLIBC_2.34\n").expect("write");
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).expect("mode");
    let out = run(Command::new(agent_folder().join("packaging/build-deb"))
        .arg(&binary)
        .arg(dir));
    text(&out.stdout).trim().to_owned()
}

/// A host as the script sees it: an image, so that nothing of this machine is touched.
struct Host {
    script: PathBuf,
    root: PathBuf,
    calls: PathBuf,
}

impl Host {
    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        Command::new("sh")
            .arg(&self.script)
            .arg("--root")
            .arg(&self.root)
            .args(arguments)
            .env("CALLS", &self.calls)
            .env_remove("FORESHOCK_TOKEN")
            .env_remove("FORESHOCK_JOIN")
            .envs(environment.iter().copied())
            .output()
            .expect("sh runs")
    }

    /// How the agent was called, a line a call.
    fn calls(&self) -> String {
        fs::read_to_string(&self.calls).unwrap_or_default()
    }

    fn installed(&self) -> PathBuf {
        self.root.join("usr/local/bin/foreshock-agent")
    }
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

fn run(command: &mut Command) -> Output {
    let out = command.output().expect("the program runs");
    assert!(out.status.success(), "{command:?}: {}", text(&out.stderr));
    out
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn get(url: &str) -> String {
    let mut answer = ureq::get(url).call().expect("an answer");
    answer.body_mut().read_to_string().expect("a body")
}

/// The script of a server, asked by somebody who believes the certificates of a file alone.
fn trusting(ca: &Path, url: &str) -> String {
    let client = crate::security::believing(ca);
    let mut answer = client.get(format!("{url}/install.sh")).call().expect("an answer");
    answer.body_mut().read_to_string().expect("a body")
}

/// Files and links below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a type").is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}
