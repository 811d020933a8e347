//! Floating point numbers in JSON without losing a bit: hexadecimal of the IEEE 754 bits.
//!
//! `serde_json` may read a decimal back one unit in the last place off; a reloaded model has to give the same bits.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

pub(crate) fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
    let text: Vec<String> = values.iter().map(|v| format!("{:016x}", v.to_bits())).collect();
    serializer.serialize_str(&text.concat())
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if !text.is_ascii() || text.len() % 16 != 0 {
        return Err(D::Error::custom(
            "numbers are not whole groups of 16 hexadecimal digits",
        ));
    }
    text.as_bytes()
        .chunks_exact(16)
        .map(|digits| {
            let digits = std::str::from_utf8(digits).map_err(D::Error::custom)?;
            u64::from_str_radix(digits, 16)
                .map(f64::from_bits)
                .map_err(D::Error::custom)
        })
        .collect()
}

/// The same for one number.
pub(crate) mod one {
    use super::{Deserializer, Serializer};
    use serde::de::Error as _;

    pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        super::serialize(&[*value], serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        let values = super::deserialize(deserializer)?;
        values
            .first()
            .copied()
            .ok_or_else(|| D::Error::custom("a number is missing"))
    }
}
