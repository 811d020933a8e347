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

/// Texts beyond this are cut: no file that the agent reads comes near, so more is a sign of something wrong.
const BYTES_MAX: usize = 1 << 20;

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
    fn text_that_is_no_utf8_is_an_error_and_not_a_panic() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("value");
        fs::write(&path, [0xff, 0xfe, 0x00]).expect("write");
        assert!(Source::new(&path).read().is_err());
        assert!(Source::new(dir.path().join("absent")).read().is_err());
    }
}
