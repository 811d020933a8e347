//! Lines of bounded length.

use std::io::{self, BufRead, Read};

/// Longest line that is read; a longer one is left out.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// A line, or why it is none.
pub(super) enum Line<'a> {
    Text(&'a str),
    TooLong,
    NotText,
}

/// Reads line after line.
pub(super) struct Lines<'a> {
    input: &'a mut dyn BufRead,
    line: Vec<u8>,
    max: u64,
}

impl<'a> Lines<'a> {
    pub(super) fn new(input: &'a mut dyn BufRead) -> Self {
        Self {
            input,
            line: Vec::new(),
            max: LINE_BYTES_MAX,
        }
    }

    #[cfg(test)]
    pub(super) fn up_to(input: &'a mut dyn BufRead, max: u64) -> Self {
        Self {
            max,
            ..Self::new(input)
        }
    }

    /// The next line without its end; `None` at the end of the input.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let read = (&mut *self.input)
            .take(self.max + 1)
            .read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        if self.line.last() != Some(&b'\n') && read as u64 > self.max {
            self.skip_line()?;
            return Ok(Some(Line::TooLong));
        }
        while matches!(self.line.last(), Some(b'\n' | b'\r')) {
            self.line.pop();
        }
        Ok(Some(std::str::from_utf8(&self.line).map_or(Line::NotText, Line::Text)))
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                return Ok(());
            }
            let end = buffer.iter().position(|&b| b == b'\n');
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.input.consume(used);
            if end.is_some() {
                return Ok(());
            }
        }
    }
}
