//! A list of fixed length whose memory comes in chunks as it is touched; reading it takes no lock.

use std::sync::OnceLock;

/// `T`s by number, made on first touch, a chunk at a time, never moved.
#[derive(Debug)]
pub(crate) struct Segmented<T> {
    chunks: Box<[OnceLock<Box<[T]>>]>,
    chunk_len: usize,
}

impl<T: Default> Segmented<T> {
    /// Room for `len` items, made in chunks of `chunk_len`.
    pub(crate) fn new(len: usize, chunk_len: usize) -> Self {
        let chunks = (0..len.div_ceil(chunk_len)).map(|_| OnceLock::new()).collect();
        Self { chunks, chunk_len }
    }

    /// Item `i`, if its chunk was ever touched.
    pub(crate) fn get(&self, i: usize) -> Option<&T> {
        self.chunks.get(i / self.chunk_len)?.get()?.get(i % self.chunk_len)
    }

    /// Item `i`, or `None` beyond the length.
    pub(crate) fn get_or_make(&self, i: usize) -> Option<&T> {
        let make = || (0..self.chunk_len).map(|_| T::default()).collect();
        self.chunks
            .get(i / self.chunk_len)?
            .get_or_init(make)
            .get(i % self.chunk_len)
    }

    /// All items of the chunks that were touched, with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        let chunk_len = self.chunk_len;
        let touched = self
            .chunks
            .iter()
            .enumerate()
            .filter_map(|(c, chunk)| Some((c, chunk.get()?)));
        touched.flat_map(move |(c, chunk)| chunk.iter().enumerate().map(move |(i, item)| (c * chunk_len + i, item)))
    }
}
