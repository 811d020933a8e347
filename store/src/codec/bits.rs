//! Varints and bit-packed blocks.

/// Numbers a block; each block has its own width.
const BLOCK: usize = 64;

/// A block of the widest numbers, and eight bytes so that every number can be read as one word.
const BLOCK_BYTES: usize = BLOCK * 8 + 8;

pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Appends `value`, seven bits a byte, lowest first; the high bit says that more follow.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Takes a varint off the front.
pub(crate) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        // The tenth byte has room for one bit only.
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Bytes that [`pack`] appends.
pub(crate) fn packed_len(values: &[u64]) -> usize {
    values
        .chunks(BLOCK)
        .map(|block| 1 + (block.len() * width(block)).div_ceil(8))
        .sum()
}

/// Appends `values` in blocks of 64: a byte with the width in bits, then the values at that width, lowest bit first; the last
/// block is shorter where values run out, and each block ends at a byte.
pub(crate) fn pack(out: &mut Vec<u8>, values: &[u64]) {
    for block in values.chunks(BLOCK) {
        let width = width(block);
        out.push(width as u8);
        let (mut word, mut used) = (0_u128, 0);
        for &value in block {
            word |= u128::from(value) << used;
            used += width;
            if used >= 64 {
                out.extend_from_slice(&(word as u64).to_le_bytes());
                word >>= 64;
                used -= 64;
            }
        }
        out.extend_from_slice(&word.to_le_bytes()[..used.div_ceil(8)]);
    }
}

/// Appends `n` numbers that [`pack`] wrote to `out` and takes their bytes off the front of `bytes`.
pub(crate) fn unpack(bytes: &mut &[u8], n: usize, out: &mut Vec<u64>) -> Option<()> {
    let mut padded = [0_u8; BLOCK_BYTES];
    let mut left = n;
    while left > 0 {
        let count = left.min(BLOCK);
        let (&width, rest) = bytes.split_first()?;
        if width > 64 {
            return None;
        }
        let width = usize::from(width);
        let (block, rest) = rest.split_at_checked((count * width).div_ceil(8))?;
        *bytes = rest;
        padded[..block.len()].copy_from_slice(block);
        unpack_block(&padded, width, count, out);
        left -= count;
    }
    Some(())
}

fn unpack_block(padded: &[u8; BLOCK_BYTES], width: usize, count: usize, out: &mut Vec<u64>) {
    match width {
        0 => out.extend(std::iter::repeat_n(0, count)),
        // A number starts at most seven bits into a byte, so that up to 57 bits lie within one word.
        1..=57 => {
            let mask = (1_u64 << width) - 1;
            out.extend((0..count).map(|i| {
                let bit = i * width;
                (word_at(padded, bit / 8) >> (bit % 8)) & mask
            }));
        }
        _ => out.extend((0..count).map(|i| {
            let bit = i * width;
            let low = u128::from(word_at(padded, bit / 8));
            let high = u128::from(padded[bit / 8 + 8]);
            let all = ((high << 64 | low) >> (bit % 8)) as u64;
            if width == 64 { all } else { all & ((1 << width) - 1) }
        })),
    }
}

fn word_at(padded: &[u8; BLOCK_BYTES], at: usize) -> u64 {
    padded[at..]
        .first_chunk::<8>()
        .map_or(0, |word| u64::from_le_bytes(*word))
}

fn width(block: &[u64]) -> usize {
    64 - block.iter().fold(0, |all, v| all | v).leading_zeros() as usize
}
