//! Reading small files of `/proc` and `/sys` again and again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::str;

use crate::probe::ProbeError;

/// A file of `/proc` or `/sys` that stays open between readings.
///
/// Reading at offset 0 makes the kernel write the text anew; leaving out open and close halves the cost of a reading
/// (`/proc/loadavg`: 6.4 to 0.6 microseconds). A descriptor whose object has vanished is opened again by path.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    file: Option<File>,
    /// Kept at its full length; the text is its first `len` bytes.
    buffer: Vec<u8>,
    len: usize,
}

/// Texts beyond this are cut after their last whole line. A host of many containers has a list of mounts that comes near.
const BYTES_MAX: usize = 1 << 20;

/// What is kept of a text that is read line by line.
const WINDOW_BYTES: usize = 16 << 10;

/// Windows of one text at most.
const WINDOWS_MAX: usize = 1024;

impl Source {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            file: None,
            buffer: Vec::new(),
            len: 0,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file can be opened at all.
    pub(crate) fn exists(&self) -> bool {
        self.file.is_some() || File::open(&self.path).is_ok()
    }

    /// The file's present text.
    pub(crate) fn read(&mut self) -> Result<&str, ProbeError> {
        let kept = self.file.is_some();
        let mut filled = self.fill();
        if filled.is_err() && kept {
            // The kept descriptor may belong to a cgroup or device that was removed and made again.
            self.file = None;
            filled = self.fill();
        }
        if let Err(source) = filled {
            self.file = None;
            return Err(ProbeError::Read {
                path: self.path.clone(),
                source,
            });
        }
        str::from_utf8(&self.buffer[..self.len]).map_err(|error| ProbeError::Read {
            path: self.path.clone(),
            source: io::Error::new(io::ErrorKind::InvalidData, error),
        })
    }

    /// Hands over the present text line by line, for files that grow with the host and are not kept whole: `/proc/schedstat` has
    /// a megabyte on 512 cores. A line longer than the window comes in pieces.
    pub(crate) fn each_line(&mut self, mut take: impl FnMut(&str)) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => File::open(&self.path)?,
        };
        self.buffer.resize(WINDOW_BYTES, 0);
        let (mut at, mut kept) = (0, 0);
        for _ in 0..WINDOWS_MAX {
            let read = file.read_at(&mut self.buffer[kept..], at)?;
            at += read as u64;
            let len = kept + read;
            let window = &self.buffer[..len];
            let whole = match window.iter().rposition(|byte| *byte == b'\n') {
                Some(last) => last + 1,
                None if read == 0 || len == WINDOW_BYTES => len,
                None => 0,
            };
            let text = String::from_utf8_lossy(&window[..whole]);
            text.lines().for_each(&mut take);
            if read == 0 {
                break;
            }
            self.buffer.copy_within(whole..len, 0);
            kept = len - whole;
        }
        // After an error it is opened anew.
        self.file = Some(file);
        Ok(())
    }

    /// The error for a text that lacks what it always has.
    pub(crate) fn lacks(&self, what: &'static str) -> ProbeError {
        ProbeError::Missing {
            path: self.path.clone(),
            what,
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => File::open(&self.path)?,
        };
        let file = self.file.insert(file);
        let mut len = 0;
        loop {
            if len == self.buffer.len() {
                let target = (len * 2).clamp(1024, BYTES_MAX);
                if target == len {
                    let cut = self.buffer.iter().rposition(|byte| *byte == b'\n');
                    len = cut.map_or(0, |last| last + 1);
                    break;
                }
                self.buffer.resize(target, 0);
            }
            match file.read_at(&mut self.buffer[len..], len as u64) {
                Ok(0) => break,
                Ok(n) => len += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.len = len;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_kept_file_shows_its_present_text() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("value");
        fs::write(&path, "one\n").expect("write");
        let mut source = Source::new(&path);
        assert_eq!(source.read().expect("first reading"), "one\n");
        fs::write(&path, "twenty two\n".repeat(500)).expect("write");
        assert_eq!(source.read().expect("second reading").len(), 5500);
        fs::write(&path, "3").expect("write");
        assert_eq!(source.read().expect("third reading"), "3");
    }

    #[test]
    fn a_text_beyond_the_bound_is_cut_after_a_line() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("mountinfo");
        fs::write(&path, "für alle\n".repeat(200_000)).expect("write");
        let mut source = Source::new(&path);
        let text = source.read().expect("cut, and read all the same");
        assert!(
            text.len() > BYTES_MAX - 20 && text.ends_with("für alle\n"),
            "{}",
            text.len()
        );
        fs::write(&path, "x".repeat(2 << 20)).expect("write");
        assert_eq!(source.read().expect("no line at all"), "");
    }

    #[test]
    fn a_long_text_comes_line_by_line_whatever_its_length() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("schedstat");
        for length in [0, 1, 3000, 200_000] {
            let lines: Vec<String> = (0..length)
                .map(|n| format!("line {n} {}", "y".repeat(n % 61)))
                .collect();
            for end in ["", "\n"] {
                fs::write(&path, lines.join("\n") + end).expect("write");
                let mut source = Source::new(&path);
                for _ in 0..2 {
                    let mut read = Vec::new();
                    source.each_line(|line| read.push(line.to_owned())).expect("read");
                    read.retain(|line| !line.is_empty());
                    assert_eq!(read, lines, "{length}");
                }
            }
        }
        let mut pieces = 0;
        fs::write(&path, "z".repeat(100_000)).expect("write");
        let mut source = Source::new(&path);
        source.each_line(|line| pieces += line.len()).expect("read");
        assert_eq!(pieces, 100_000);
    }

    #[test]
    fn text_that_is_no_utf8_is_an_error_and_not_a_panic() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("value");
        fs::write(&path, [0xff, 0xfe, 0x00]).expect("write");
        assert!(Source::new(&path).read().is_err());
        assert!(Source::new(dir.path().join("absent")).read().is_err());
    }
}
