//! The protobuf wire format, as much of it as our messages need.

/// Bytes that are no message of the expected kind. The position is within the innermost message that was being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body stops inside a field, or a length points beyond its message.
    #[error("the message ends inside a field of {message}")]
    Truncated {
        /// What was being read.
        message: &'static str,
    },
    /// A varint of more than ten bytes, or a field number of zero or beyond the format's range.
    #[error("{message} holds bytes that are no protobuf field")]
    Malformed {
        /// What was being read.
        message: &'static str,
    },
    /// A known field with another wire type than its own.
    #[error("field {field} of {message} has the wrong wire type")]
    WireType {
        /// What was being read.
        message: &'static str,
        /// The field's number.
        field: u32,
    },
    /// A text field that is no UTF-8.
    #[error("field {field} of {message} is not valid UTF-8")]
    Utf8 {
        /// What was being read.
        message: &'static str,
        /// The field's number.
        field: u32,
    },
    /// A reference to a symbol that the message does not bring along.
    #[error("symbol {reference} is referred to, and the message has {symbols} symbols")]
    Symbol {
        /// The reference.
        reference: u64,
        /// How many symbols there are.
        symbols: usize,
    },
    /// More of something than any sender needs.
    #[error("{message} has more than {limit} {what}")]
    TooMany {
        /// What was being read.
        message: &'static str,
        /// What there is too much of.
        what: &'static str,
        /// As many as are read.
        limit: usize,
    },
    /// A value that takes more room than any sender needs.
    #[error("{message} takes more than {limit} bytes when it is written as text")]
    TooLarge {
        /// What was being read.
        message: &'static str,
        /// The bytes that are written.
        limit: usize,
    },
    /// Values or groups nested beyond what any sender needs.
    #[error("{message} is nested more than {limit} levels deep")]
    TooDeep {
        /// What was being read.
        message: &'static str,
        /// The levels that are read.
        limit: u8,
    },
}

/// How deep groups may nest; nobody sends them, they are only skipped.
const GROUP_DEPTH: u8 = 8;

/// The value of one field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    /// Four bytes, which none of our fields is: skipped.
    Fixed32,
    /// A group: obsolete, skipped.
    Group,
}

/// One field of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) message: &'static str,
    pub(crate) number: u32,
    pub(crate) value: Value<'a>,
}

impl<'a> Field<'a> {
    fn wrong(self) -> DecodeError {
        DecodeError::WireType {
            message: self.message,
            field: self.number,
        }
    }

    pub(crate) fn varint(self) -> Result<u64, DecodeError> {
        if let Value::Varint(v) = self.value {
            Ok(v)
        } else {
            Err(self.wrong())
        }
    }

    pub(crate) fn fixed64(self) -> Result<u64, DecodeError> {
        if let Value::Fixed64(v) = self.value {
            Ok(v)
        } else {
            Err(self.wrong())
        }
    }

    pub(crate) fn double(self) -> Result<f64, DecodeError> {
        self.fixed64().map(f64::from_bits)
    }

    pub(crate) fn bytes(self) -> Result<&'a [u8], DecodeError> {
        if let Value::Bytes(v) = self.value {
            Ok(v)
        } else {
            Err(self.wrong())
        }
    }

    pub(crate) fn text(self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::Utf8 {
            message: self.message,
            field: self.number,
        })
    }

    pub(crate) fn sint32(self) -> Result<i32, DecodeError> {
        let raw = self.varint()? as u32;
        Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
    }
}

/// The fields of one message, in the order of the bytes.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    message: &'static str,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'static str, bytes: &'a [u8]) -> Self {
        Self { message, rest: bytes }
    }

    /// How many bytes are yet to be read.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    fn truncated(&self) -> DecodeError {
        DecodeError::Truncated { message: self.message }
    }

    fn malformed(&self) -> DecodeError {
        DecodeError::Malformed { message: self.message }
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, DecodeError> {
        // Nearly all keys and lengths are of one byte.
        match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for (i, &byte) in self.rest.iter().take(10).enumerate() {
            // The tenth byte holds the 64th bit alone.
            if i == 9 && byte > 1 {
                return Err(self.malformed());
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 {
            self.truncated()
        } else {
            self.malformed()
        })
    }

    #[inline]
    fn take(&mut self, length: u64) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(length).map_err(|_| self.truncated())?;
        let (head, tail) = self.rest.split_at_checked(length).ok_or_else(|| self.truncated())?;
        self.rest = tail;
        Ok(head)
    }

    #[inline]
    fn key(&mut self) -> Result<(u32, u8), DecodeError> {
        let key = u32::try_from(self.varint()?).map_err(|_| self.malformed())?;
        let number = key >> 3;
        if number == 0 {
            return Err(self.malformed());
        }
        Ok((number, (key & 7) as u8))
    }

    #[inline]
    fn value(&mut self, number: u32, wire_type: u8, depth: u8) -> Result<Value<'a>, DecodeError> {
        Ok(match wire_type {
            0 => Value::Varint(self.varint()?),
            1 => {
                let (head, tail) = self.rest.split_first_chunk::<8>().ok_or_else(|| self.truncated())?;
                self.rest = tail;
                Value::Fixed64(u64::from_le_bytes(*head))
            }
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            3 => self.group(number, depth)?,
            5 => {
                self.take(4)?;
                Value::Fixed32
            }
            _ => return Err(self.malformed()),
        })
    }

    #[cold]
    fn group(&mut self, number: u32, depth: u8) -> Result<Value<'a>, DecodeError> {
        if depth >= GROUP_DEPTH {
            return Err(DecodeError::TooDeep {
                message: self.message,
                limit: GROUP_DEPTH,
            });
        }
        loop {
            let (inner, wire_type) = self.key()?;
            if wire_type == 4 {
                return if inner == number {
                    Ok(Value::Group)
                } else {
                    Err(self.malformed())
                };
            }
            self.value(inner, wire_type, depth + 1)?;
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let message = self.message;
        let field = self.key().and_then(|(number, wire_type)| {
            self.value(number, wire_type, 0)
                .map(|value| Field { message, number, value })
        });
        if field.is_err() {
            // One error ends the message: what follows it cannot be told apart.
            self.rest = &[];
        }
        Some(field)
    }
}

/// Bytes that a varint takes.
pub(crate) const fn varint_len(value: u64) -> usize {
    // Seven bits a byte; `| 1` because zero takes a byte as well.
    (63 - (value | 1).leading_zeros() as usize) / 7 + 1
}

/// A varint on its own.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A field of varint type; protobuf leaves out zeros.
pub fn put_varint_field(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        put_varint(out, u64::from(number << 3));
        put_varint(out, value);
    }
}

/// A field of fixed64 or double type, also when zero.
pub fn put_fixed64_field(out: &mut Vec<u8>, number: u32, bits: u64) {
    put_varint(out, u64::from(number << 3 | 1));
    out.extend_from_slice(&bits.to_le_bytes());
}

/// A field of bytes, text or message type, also when empty.
pub fn put_bytes_field(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_message_key(out, number, bytes.len());
    out.extend_from_slice(bytes);
}

/// The key and the length of a message whose bytes follow.
pub fn put_message_key(out: &mut Vec<u8>, number: u32, length: usize) {
    put_varint(out, u64::from(number << 3 | 2));
    put_varint(out, length as u64);
}

/// Bytes that a field of bytes, text or message type takes; field numbers below 16.
pub(crate) const fn bytes_field_len(length: usize) -> usize {
    1 + varint_len(length as u64) + length
}
