//! Everything that the store does to files, except reading them.
//!
//! One place, so that tests can stand a disk under the whole store that fails, fills up, tears writes, and forgets at a power cut
//! what was not synced: see [`faults`]. Outside of tests each function is the system call and nothing else.
//!
//! SQLite, which holds the small state, writes its files by itself.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

#[cfg(test)]
pub(crate) mod faults;
#[cfg(test)]
pub(crate) mod tests;

/// A file being written.
#[derive(Debug)]
pub(crate) struct File {
    file: fs::File,
    // Where `Write` goes on; `write_all_at` leaves it alone.
    position: u64,
    #[cfg(test)]
    watched: Option<faults::Watched>,
}

/// Creates a file, or empties the one that there is.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    make(path, OpenOptions::new().write(true).create(true).truncate(true))
}

/// Creates a file where there is none yet.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    make(path, OpenOptions::new().write(true).create_new(true))
}

fn make(path: &Path, options: &OpenOptions) -> io::Result<File> {
    #[cfg(test)]
    let watched = faults::create(path)?;
    Ok(File {
        file: options.open(path)?,
        position: 0,
        #[cfg(test)]
        watched,
    })
}

/// Cuts a file that exists to `size` bytes, durably.
pub(crate) fn cut(path: &Path, size: u64) -> io::Result<()> {
    let file = File {
        file: OpenOptions::new().write(true).open(path)?,
        position: 0,
        #[cfg(test)]
        watched: faults::open(path),
    };
    file.set_len(size)?;
    file.sync_all()
}

/// Makes durable what a file holds, whoever wrote it.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    let file = File {
        file: OpenOptions::new().write(true).open(path)?,
        position: 0,
        #[cfg(test)]
        watched: faults::open(path),
    };
    file.sync_all()
}

/// Gives a file another name, in place of the file that had it.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(test)]
    faults::rename(from, to)?;
    fs::rename(from, to)
}

/// Removes a file.
pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    faults::remove(path)?;
    fs::remove_file(path)
}

/// Creates a directory and those above it, where there are none.
pub(crate) fn create_dir_all(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Makes the names in a directory durable: a created, renamed or removed file is safe only after this.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    #[cfg(test)]
    if let Some(done) = faults::sync_dir(dir) {
        return done;
    }
    fs::File::open(dir)?.sync_all()
}

impl File {
    /// Writes all of `bytes` at `offset`. After an error some of them may be there.
    pub(crate) fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        #[cfg(test)]
        if let Some(watched) = &self.watched {
            return watched.write(&self.file, bytes, offset);
        }
        self.file.write_all_at(bytes, offset)
    }

    /// Makes the file `size` bytes long.
    pub(crate) fn set_len(&self, size: u64) -> io::Result<()> {
        #[cfg(test)]
        if let Some(watched) = &self.watched {
            watched.set_len(size)?;
        }
        self.file.set_len(size)
    }

    /// Makes what was written durable, and the size with it.
    pub(crate) fn sync_data(&self) -> io::Result<()> {
        #[cfg(test)]
        if let Some(watched) = &self.watched {
            return watched.sync();
        }
        self.file.sync_data()
    }

    /// As [`File::sync_data`], with all that the file system knows of the file.
    pub(crate) fn sync_all(&self) -> io::Result<()> {
        #[cfg(test)]
        if let Some(watched) = &self.watched {
            return watched.sync();
        }
        self.file.sync_all()
    }

    /// How long the file is.
    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all_at(bytes, self.position)?;
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
