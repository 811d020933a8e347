//! What the helper hands the agent: lines of text.
//!
//! ```text
//! foreshock disk health 1 <nanoseconds since 1970 UTC>
//! disk <slot> <0 or 1: failing> <endurance left, or -> <id>
//! value <name> <number>
//! ```

/// Lines that are read: a report of 256 disks has some six thousand.
const LINES_MAX: usize = 20_000;

const TITLE: &str = "foreshock disk health 1 ";

/// What all disks said at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Report {
    pub(crate) unix_nanos: u64,
    pub(crate) disks: Vec<DiskHealth>,
}

/// What a disk said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DiskHealth {
    /// Serial number or world-wide name, else the slot.
    pub(crate) id: String,
    /// Where it is now, such as `nvme0` or `sda`.
    pub(crate) slot: String,
    pub(crate) values: Values,
}

/// Its health.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Values {
    /// It says itself that it will fail.
    pub(crate) failing: bool,
    /// Share of the writes that its maker promised that is left, 0 to 1; `None` for disks that do not wear out that way.
    pub(crate) endurance_remaining: Option<f64>,
    pub(crate) attributes: Vec<(String, u64)>,
}

impl Report {
    pub(super) fn text(&self) -> String {
        let mut text = format!("{TITLE}{}\n", self.unix_nanos);
        for disk in &self.disks {
            let left = disk.values.endurance_remaining;
            let left = left.map_or("-".to_owned(), |left| left.to_string());
            let failing = u8::from(disk.values.failing);
            text.push_str(&format!(
                "disk {} {failing} {left} {}\n",
                word(&disk.slot),
                word(&disk.id)
            ));
            for (name, value) in &disk.values.attributes {
                text.push_str(&format!("value {} {value}\n", word(name)));
            }
        }
        text
    }

    /// `None` for what is no such report.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut report = Self {
            unix_nanos: lines.next()?.strip_prefix(TITLE)?.parse().ok()?,
            disks: Vec::new(),
        };
        for line in lines.take(LINES_MAX) {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["disk", slot, failing, left, id] => report.disks.push(DiskHealth {
                    id: (*id).to_owned(),
                    slot: (*slot).to_owned(),
                    values: Values {
                        failing: *failing == "1",
                        endurance_remaining: match *left {
                            "-" => None,
                            left => Some(left.parse().ok().filter(|left| (0.0..=1.0).contains(left))?),
                        },
                        attributes: Vec::new(),
                    },
                }),
                ["value", name, value] => {
                    let disk = report.disks.last_mut()?;
                    disk.values.attributes.push(((*name).to_owned(), value.parse().ok()?));
                }
                _ => return None,
            }
        }
        Some(report)
    }
}

/// A text as one word.
fn word(text: &str) -> String {
    let word: String = text
        .chars()
        .map(|c| if c.is_ascii_graphic() { c } else { '_' })
        .collect();
    if word.is_empty() { "_".to_owned() } else { word }
}
