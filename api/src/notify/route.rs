//! Which alerts go to whom, and when not: a tree of routes, inhibitions and times of quiet.

use std::collections::BTreeMap;

use store::Matcher;

use super::group::Grouping;
use super::inhibit::Inhibition;
use super::interval::TimeInterval;
use super::matcher::{all_match, shown};

/// A node of the tree. An alert goes to the deepest routes that match it, as in Alertmanager.
#[derive(Debug, Clone)]
pub struct Route {
    /// To whom; `None` stands for every receiver.
    pub receiver: Option<String>,
    /// What an alert's labels must all meet.
    pub matchers: Vec<Matcher>,
    /// Which alerts share a message, and how often.
    pub grouping: Grouping,
    /// Whether the routes beside it are tried as well once this one matched.
    pub goes_on: bool,
    /// Names of times in which nobody is told.
    pub mute: Vec<String>,
    /// Names of times outside of which nobody is told; none stands for always.
    pub active: Vec<String>,
    /// Routes that are tried first.
    pub routes: Vec<Route>,
    /// What it is known by on disk, from its matchers and its parents'; unique within a tree.
    id: String,
    /// The beginning of Alertmanager's `groupKey`.
    key: String,
}

impl Route {
    /// A route without routes below it.
    #[must_use]
    pub fn new(receiver: Option<String>, matchers: Vec<Matcher>, grouping: Grouping) -> Self {
        Self {
            receiver,
            matchers,
            grouping,
            goes_on: false,
            mute: Vec::new(),
            active: Vec::new(),
            routes: Vec::new(),
            id: String::new(),
            key: String::new(),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    fn name(&mut self, id: String, key: String) {
        let mut taken: BTreeMap<String, usize> = BTreeMap::new();
        for child in &mut self.routes {
            let own = shown(&child.matchers);
            let count = taken.entry(own.clone()).or_default();
            *count += 1;
            // Twins are told apart by their number, the others not, so that a new route elsewhere renames nobody.
            let twin = if *count > 1 { format!("#{count}") } else { String::new() };
            child.name(format!("{id}/{own}{twin}"), format!("{key}/{own}"));
        }
        self.id = id;
        self.key = key;
    }

    fn collect<'a>(&'a self, labels: &BTreeMap<String, String>, found: &mut Vec<&'a Self>) -> bool {
        if !all_match(&self.matchers, labels) {
            return false;
        }
        let before = found.len();
        for child in &self.routes {
            if child.collect(labels, found) && !child.goes_on {
                break;
            }
        }
        if found.len() == before {
            found.push(self);
        }
        true
    }

    fn visit<'a>(&'a self, found: &mut Vec<&'a Self>) {
        found.push(self);
        for child in &self.routes {
            child.visit(found);
        }
    }
}

/// Everything about who is told what.
#[derive(Debug, Clone)]
pub struct Routing {
    root: Route,
    /// Which alerts keep others back.
    pub inhibitions: Vec<Inhibition>,
    /// The times that routes name.
    pub intervals: Vec<TimeInterval>,
    /// An alert from outside that is not said again within this time has ended.
    pub resolve_after_ms: i64,
}

/// Alertmanager's default `resolve_timeout`.
const RESOLVE_AFTER_MS: i64 = 5 * 60_000;

impl Default for Routing {
    fn default() -> Self {
        Self::simple(Grouping::default())
    }
}

impl Routing {
    /// Every alert to every receiver.
    #[must_use]
    pub fn simple(grouping: Grouping) -> Self {
        Self::new(Route::new(None, Vec::new(), grouping))
    }

    /// Routes below a root, which matches everything.
    #[must_use]
    pub fn new(mut root: Route) -> Self {
        root.name("{}".to_owned(), "{}".to_owned());
        Self {
            root,
            inhibitions: Vec::new(),
            intervals: Vec::new(),
            resolve_after_ms: RESOLVE_AFTER_MS,
        }
    }

    pub(super) fn root(&self) -> &Route {
        &self.root
    }

    /// How long the first message of a group below the root waits for company.
    pub fn set_wait_ms(&mut self, wait_ms: i64) {
        self.root.grouping.wait_ms = wait_ms;
    }

    /// The routes that an alert with these labels takes, at least one.
    pub(super) fn of(&self, labels: &BTreeMap<String, String>) -> Vec<&Route> {
        let mut found = Vec::new();
        self.root.collect(labels, &mut found);
        found
    }

    pub(super) fn by_id(&self, id: &str) -> Option<&Route> {
        self.all().into_iter().find(|route| route.id == id)
    }

    /// All routes, parents first.
    pub(super) fn all(&self) -> Vec<&Route> {
        let mut found = Vec::new();
        self.root.visit(&mut found);
        found
    }

    /// The name of the time of quiet that keeps this route's messages back now.
    pub(super) fn muted_by(&self, route: &Route, now_ms: i64) -> Option<String> {
        let holds = |name: &&String| {
            self.intervals
                .iter()
                .any(|interval| interval.name == **name && interval.contains(now_ms))
        };
        if let Some(name) = route.mute.iter().find(holds) {
            return Some(name.clone());
        }
        let outside = !route.active.is_empty() && !route.active.iter().any(|name| holds(&name));
        outside.then(|| route.active.join(", "))
    }
}

#[cfg(test)]
mod tests;
