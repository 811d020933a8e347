//! Whom else to tell where nobody acknowledges an alert: steps, and who is on duty when one is taken.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use store::Matcher;

use super::interval::{Span, TimeInterval, minute, weekdays};
use super::matcher::{self, all_match};

/// What is done about some alerts that nobody acknowledges.
#[derive(Debug, Clone)]
pub struct Escalation {
    pub(super) name: String,
    matchers: Vec<Matcher>,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// Since the first message about the alert.
    pub(super) after_ms: i64,
    /// Name of a receiver or of a schedule.
    pub(super) to: String,
}

/// Who is on duty when: stretches of the week, in a time zone.
#[derive(Debug, Clone)]
pub struct Schedule {
    name: String,
    /// The first that holds counts.
    shifts: Vec<(TimeInterval, String)>,
    /// Whoever is told outside of all shifts.
    otherwise: String,
}

/// A shift as it is configured.
#[derive(Debug, Clone, Default)]
pub struct ShiftDraft {
    /// `monday:friday`, `sunday`; every day where there is none.
    pub days: Vec<String>,
    /// `09:00`; midnight where nothing is said.
    pub from: Option<String>,
    /// `17:00`; midnight where nothing is said. One before `from` belongs to the day after.
    pub to: Option<String>,
    /// Name of a receiver.
    pub receiver: String,
}

/// Escalations and schedules that fit together.
#[derive(Debug, Clone, Default)]
pub struct Escalations {
    policies: Vec<Escalation>,
    schedules: Vec<Schedule>,
}

/// An escalation or a schedule that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {name:?}: {problem}")]
pub struct EscalationError {
    what: &'static str,
    name: String,
    problem: String,
}

/// Steps of an escalation, and shifts of a schedule.
const STEPS_MAX: usize = 20;
const SHIFTS_MAX: usize = 200;
/// The longest time to wait for an acknowledgement: a week.
const AFTER_MAX_MS: i64 = 7 * 86_400_000;

impl Escalation {
    /// What is done about alerts that `matchers` fit, one text each as in a route: after so many milliseconds without an
    /// acknowledgement, tell that receiver, or whoever is on duty in that schedule.
    ///
    /// # Errors
    /// [`EscalationError`] for matchers that cannot be read, and steps that do not follow one another.
    pub fn new(name: &str, matchers: &[String], steps: Vec<(i64, String)>) -> Result<Self, EscalationError> {
        let wrong = |problem: String| error("escalation", name, problem);
        check_name("escalation", name)?;
        if steps.is_empty() || steps.len() > STEPS_MAX {
            return Err(wrong(format!("it needs 1 to {STEPS_MAX} steps")));
        }
        let ordered = steps.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !ordered || steps.iter().any(|(after_ms, _)| !(1..=AFTER_MAX_MS).contains(after_ms)) {
            return Err(wrong(
                "after_minutes counts from the first message, grows from step to step, and is at most a week"
                    .to_owned(),
            ));
        }
        let mut read = Vec::new();
        for text in matchers {
            read.extend(matcher::parse_list(text).map_err(wrong)?);
        }
        Ok(Self {
            name: name.to_owned(),
            matchers: read,
            steps: steps.into_iter().map(|(after_ms, to)| Step { after_ms, to }).collect(),
        })
    }
}

impl Schedule {
    /// Who is on duty, in the time of `time_zone`, a name or a rule as POSIX writes them (`CET-1CEST,M3.5.0,M10.5.0/3`): the receiver of the first shift that holds, else `otherwise`.
    ///
    /// # Errors
    /// [`EscalationError`] for days, times and zones that there are not.
    pub fn new(
        name: &str,
        time_zone: Option<&str>,
        shifts: Vec<ShiftDraft>,
        otherwise: String,
    ) -> Result<Self, EscalationError> {
        let wrong = |problem: String| error("schedule", name, problem);
        check_name("schedule", name)?;
        let zone = match time_zone {
            None => TimeZone::UTC,
            Some(zone) => TimeZone::get(zone).or_else(|error| {
                TimeZone::posix(zone).map_err(|_| {
                    wrong(format!(
                        "time_zone: {error}; is the system's time zone database installed?"
                    ))
                })
            })?,
        };
        if shifts.len() > SHIFTS_MAX {
            return Err(wrong(format!(
                "it has {} shifts; the most is {SHIFTS_MAX}",
                shifts.len()
            )));
        }
        let read = |(at, shift): (usize, ShiftDraft)| {
            let spans = spans(&shift, &zone).map_err(|problem| wrong(format!("shifts[{at}]: {problem}")))?;
            let interval = TimeInterval {
                name: name.to_owned(),
                spans,
            };
            Ok((interval, shift.receiver))
        };
        Ok(Self {
            name: name.to_owned(),
            shifts: shifts.into_iter().enumerate().map(read).collect::<Result<_, _>>()?,
            otherwise,
        })
    }

    /// The name of the receiver that is on duty.
    #[must_use]
    pub fn on_duty(&self, now_ms: i64) -> &str {
        let shift = self.shifts.iter().find(|(interval, _)| interval.contains(now_ms));
        shift.map_or(&self.otherwise, |(_, receiver)| receiver)
    }

    fn receivers(&self) -> impl Iterator<Item = &String> {
        self.shifts
            .iter()
            .map(|(_, receiver)| receiver)
            .chain([&self.otherwise])
    }
}

/// A shift over midnight belongs to the day on which it begins, and ends on the next one.
fn spans(shift: &ShiftDraft, zone: &TimeZone) -> Result<Vec<Span>, String> {
    const DAY: u16 = 24 * 60;
    let time = |text: &Option<String>, otherwise| text.as_deref().map_or(Ok(otherwise), minute);
    let (from, to) = (time(&shift.from, 0)?, time(&shift.to, DAY)?);
    if from == to {
        return Err("it ends when it begins".to_owned());
    }
    let ranges: Vec<(u8, u8)> = shift.days.iter().map(|text| weekdays(text)).collect::<Result<_, _>>()?;
    let days: Vec<u8> = if ranges.is_empty() {
        (0..7).collect()
    } else {
        ranges.into_iter().flat_map(|(first, last)| first..=last).collect()
    };
    let span = |days: Vec<u8>, times: (u16, u16)| Span {
        times: vec![times],
        weekdays: days.into_iter().map(|day| (day, day)).collect(),
        zone: zone.clone(),
        ..Span::always()
    };
    if from < to {
        return Ok(vec![span(days, (from, to))]);
    }
    let next = days.iter().map(|day| (day + 1) % 7).collect();
    let mut spans = vec![span(days, (from, DAY))];
    if to > 0 {
        spans.push(span(next, (0, to)));
    }
    Ok(spans)
}

impl Escalations {
    /// Takes them over if every name in them is known: `receivers` are those of the configuration.
    ///
    /// # Errors
    /// [`EscalationError`], with the name that is not.
    pub fn new(
        policies: Vec<Escalation>,
        schedules: Vec<Schedule>,
        receivers: &[&str],
    ) -> Result<Self, EscalationError> {
        for (at, schedule) in schedules.iter().enumerate() {
            let wrong = |problem: String| Err(error("schedule", &schedule.name, problem));
            let is_twin = schedules[..at].iter().any(|other| other.name == schedule.name);
            if is_twin || receivers.contains(&schedule.name.as_str()) {
                return wrong("another schedule or a receiver has this name".to_owned());
            }
            if let Some(name) = schedule.receivers().find(|name| !receivers.contains(&name.as_str())) {
                return wrong(format!("there is no receiver {name:?}"));
            }
        }
        for (at, policy) in policies.iter().enumerate() {
            let wrong = |problem: String| Err(error("escalation", &policy.name, problem));
            if policies[..at].iter().any(|other| other.name == policy.name) {
                return wrong("another one has this name".to_owned());
            }
            let is_known =
                |name: &str| receivers.contains(&name) || schedules.iter().any(|schedule| schedule.name == name);
            if let Some(step) = policy.steps.iter().find(|step| !is_known(&step.to)) {
                return wrong(format!("there is neither a receiver nor a schedule {:?}", step.to));
            }
        }
        Ok(Self { policies, schedules })
    }

    /// The first that fits.
    pub(super) fn of(&self, labels: &BTreeMap<String, String>) -> Option<&Escalation> {
        self.policies.iter().find(|policy| all_match(&policy.matchers, labels))
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&Escalation> {
        self.policies.iter().find(|policy| policy.name == name)
    }

    /// The name of the receiver that a step leads to now.
    pub(super) fn receiver<'a>(&'a self, to: &'a str, now_ms: i64) -> &'a str {
        let schedule = self.schedules.iter().find(|schedule| schedule.name == to);
        schedule.map_or(to, |schedule| schedule.on_duty(now_ms))
    }
}

fn check_name(what: &'static str, name: &str) -> Result<(), EscalationError> {
    let fits = (1..=128).contains(&name.len()) && !name.chars().any(char::is_control);
    if fits {
        Ok(())
    } else {
        let name: String = name.chars().take(80).collect();
        Err(error(what, &name, "a name has 1 to 128 bytes".to_owned()))
    }
}

fn error(what: &'static str, name: &str, problem: String) -> EscalationError {
    EscalationError {
        what,
        name: name.to_owned(),
        problem,
    }
}
