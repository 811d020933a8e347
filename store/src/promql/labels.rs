//! Picking and dropping labels on their canonical bytes, without a string per label.

use crate::{Labels, METRIC_NAME};

/// Whether a label says what the metric is rather than which series of it: name, and type and unit where they are stored
/// as labels. An operation whose result is no longer that metric drops them.
fn describes_metric(name: &[u8]) -> bool {
    matches!(name, b"__name__" | b"__type__" | b"__unit__")
}

/// Whether the labels carry the type or the unit of their metric.
pub(super) fn typed(labels: &Labels) -> bool {
    let mut rest = labels.as_bytes();
    while let Some((name, _, tail)) = next(rest) {
        if name.len() == 8 && matches!(name, b"__type__" | b"__unit__") {
            return true;
        }
        rest = tail;
    }
    false
}

/// Which labels remain.
#[derive(Clone, Copy, Debug)]
pub(super) enum Keep<'a> {
    /// These alone.
    Only(&'a [String]),
    /// All but these and the metric name.
    Without(&'a [String]),
}

impl Keep<'_> {
    fn keeps(&self, name: &[u8]) -> bool {
        match self {
            Self::Only(names) => names.iter().any(|n| n.as_bytes() == name),
            Self::Without(names) => name != METRIC_NAME.as_bytes() && !names.iter().any(|n| n.as_bytes() == name),
        }
    }

    /// Replaces `out` by the canonical bytes of what remains of `labels`; `nameless` ones have lost their metric name.
    pub(super) fn project(&self, labels: &Labels, nameless: bool, out: &mut Vec<u8>) {
        out.clear();
        if matches!(self, Self::Only([])) {
            return;
        }
        let mut rest = labels.as_bytes();
        while let Some((name, whole, tail)) = next(rest) {
            if self.keeps(name) && !(nameless && describes_metric(name)) {
                out.extend_from_slice(whole);
            }
            rest = tail;
        }
    }
}

/// Name, bytes of the whole label, and what follows.
fn next(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let length = |at: usize| Some(usize::from(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
    let name_end = 2 + length(0)?;
    let end = name_end + 2 + length(name_end)?;
    Some((bytes.get(2..name_end)?, bytes.get(..end)?, bytes.get(end..)?))
}

/// Labels from bytes that [`Keep::project`] wrote.
pub(super) fn from_projected(bytes: &[u8]) -> Labels {
    Labels::from_bytes(bytes).unwrap_or_else(Labels::empty)
}

/// The labels without those that describe the metric.
pub(super) fn without_name(labels: &Labels) -> Labels {
    let mut bytes = Vec::with_capacity(labels.as_bytes().len());
    Keep::Without(&[]).project(labels, true, &mut bytes);
    if bytes.len() == labels.as_bytes().len() {
        labels.clone()
    } else {
        from_projected(&bytes)
    }
}

/// Whether a label is dropped together with the metric name.
pub(super) fn goes_with_name(name: &str) -> bool {
    describes_metric(name.as_bytes())
}

/// The labels with `name` set to `value`, or dropped where `value` is empty.
pub(super) fn with(labels: &Labels, name: &str, value: &str) -> Labels {
    Labels::from_pairs(labels.iter().filter(|(n, _)| *n != name).chain([(name, value)]))
}

/// The labels as Go prints them: `{__name__="up", job="a"}`.
pub(super) fn go_string(labels: &Labels) -> String {
    let mut text = String::from("{");
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            text.push_str(", ");
        }
        let plain = name
            .bytes()
            .enumerate()
            .all(|(i, b)| b.is_ascii_alphabetic() || b == b'_' || (i > 0 && b.is_ascii_digit()));
        if plain {
            text.push_str(name);
        } else {
            text.push_str(&format!("{name:?}"));
        }
        text.push_str(&format!("={value:?}"));
    }
    text.push('}');
    text
}
