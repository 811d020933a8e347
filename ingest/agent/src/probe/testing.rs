//! What probe tests share: recorded files in a temporary `/proc` and `/sys`, readings as text.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Paths, Probe};
use crate::reading::{Readings, TextSink};

/// A temporary root with recorded files.
pub(crate) struct Files {
    root: tempfile::TempDir,
    pub(crate) paths: Paths,
}

/// Files by path, such as `proc/stat` or `sys/fs/cgroup/x/memory.current`.
pub(crate) fn files(files: &[(&str, &str)]) -> Files {
    let root = tempfile::tempdir().expect("temporary directory");
    let paths = Paths {
        root: None,
        proc: root.path().join("proc"),
        sys: root.path().join("sys"),
    };
    fs::create_dir_all(&paths.proc).expect("proc");
    fs::create_dir_all(&paths.sys).expect("sys");
    let all = Files { root, paths };
    files.iter().for_each(|(path, text)| all.write(path, text));
    all
}

impl Files {
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, text).expect("file");
    }

    pub(crate) fn remove(&self, path: &str) {
        let path = self.root.path().join(path);
        if path.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        }
        .expect("remove");
    }

    pub(crate) fn path(&self, path: &str) -> String {
        self.root.path().join(path).to_str().expect("utf-8 path").to_owned()
    }
}

/// A named pipe: whoever opens one end waits for the other, as one waits for hardware that hangs.
pub(crate) fn pipe(path: &Path) {
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, path, fifo, rustix::fs::Mode::from(0o600), 0).expect("a pipe");
}

/// Writes to whoever opens a pipe to read, for as long as somebody does so.
pub(crate) fn answer(path: &Path, text: &str, is_asked: impl Fn() -> bool) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    while is_asked() {
        // Without a reader it cannot be opened.
        let pipe = fs::OpenOptions::new().write(true).custom_flags(flags).open(path);
        if let Ok(mut pipe) = pipe {
            pipe.write_all(text.as_bytes()).unwrap_or_default();
        }
        std::thread::yield_now();
    }
}

/// One round as text; an error is its last line.
pub(crate) fn sample(probe: &mut dyn Probe) -> String {
    let mut sink = TextSink::default();
    let mut out = Readings::new(&mut sink, 2_000_000_000, 1_000_000_000);
    probe.begin();
    let result = probe.sample(Instant::now() + Duration::from_secs(30), &mut out);
    let mut text = sink.text().to_owned();
    if let Err(error) = result {
        text.push_str(&format!("error: {error}\n"));
    }
    text
}
