//! The life of an alert: quiet, pending, firing, resolved.

/// How long an expression has to hold before its alert fires, and how long the alert outlives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hold {
    /// Milliseconds that the expression must hold: `for`.
    pub for_ms: i64,
    /// Milliseconds that the alert goes on firing after the expression ceased to hold: `keep_firing_for`.
    pub keep_firing_ms: i64,
}

/// Where an alert stands. Times are milliseconds UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertState {
    /// The expression does not hold.
    Quiet,
    /// It holds, not yet for long enough.
    Pending {
        /// Since when it holds.
        since_ms: i64,
    },
    /// It held for long enough.
    Firing {
        /// Since when the expression holds.
        since_ms: i64,
        /// When the alert began to fire.
        fired_ms: i64,
        /// Since when the expression holds no more, while the alert is kept firing.
        gone_ms: Option<i64>,
    },
    /// It fired, and the expression holds no more.
    Resolved {
        /// Since when the expression held.
        since_ms: i64,
        /// When the alert began to fire.
        fired_ms: i64,
        /// When it ended.
        resolved_ms: i64,
    },
}

impl Hold {
    /// The state after one more evaluation, in which the expression did or did not hold.
    #[must_use]
    pub fn step(&self, state: AlertState, holds: bool, now_ms: i64) -> AlertState {
        if holds {
            let since_ms = match state {
                AlertState::Firing { since_ms, fired_ms, .. } => {
                    return AlertState::Firing {
                        since_ms,
                        fired_ms,
                        gone_ms: None,
                    };
                }
                AlertState::Pending { since_ms } => since_ms,
                AlertState::Quiet | AlertState::Resolved { .. } => now_ms,
            };
            return if now_ms - since_ms >= self.for_ms {
                AlertState::Firing {
                    since_ms,
                    fired_ms: now_ms,
                    gone_ms: None,
                }
            } else {
                AlertState::Pending { since_ms }
            };
        }
        match state {
            AlertState::Firing {
                since_ms,
                fired_ms,
                gone_ms,
            } => {
                let gone = gone_ms.unwrap_or(now_ms);
                if now_ms - gone < self.keep_firing_ms {
                    AlertState::Firing {
                        since_ms,
                        fired_ms,
                        gone_ms: Some(gone),
                    }
                } else {
                    AlertState::Resolved {
                        since_ms,
                        fired_ms,
                        resolved_ms: now_ms,
                    }
                }
            }
            AlertState::Quiet | AlertState::Pending { .. } | AlertState::Resolved { .. } => AlertState::Quiet,
        }
    }
}

impl AlertState {
    /// The state after a time in which nobody looked: that time counts neither as holding nor as gone.
    #[must_use]
    pub fn after_pause(self, pause_ms: i64) -> Self {
        match self {
            Self::Pending { since_ms } => Self::Pending {
                since_ms: since_ms + pause_ms,
            },
            Self::Firing {
                since_ms,
                fired_ms,
                gone_ms,
            } => Self::Firing {
                since_ms,
                fired_ms,
                gone_ms: gone_ms.map(|gone| gone + pause_ms),
            },
            Self::Quiet | Self::Resolved { .. } => self,
        }
    }

    /// True while pending or firing.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Pending { .. } | Self::Firing { .. })
    }

    /// The state's name, as in the label `alertstate` and Prometheus' API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending { .. } => "pending",
            Self::Firing { .. } => "firing",
            Self::Quiet | Self::Resolved { .. } => "inactive",
        }
    }

    /// Since when the expression holds, or held.
    #[must_use]
    pub const fn since_ms(self) -> Option<i64> {
        match self {
            Self::Quiet => None,
            Self::Pending { since_ms } | Self::Firing { since_ms, .. } | Self::Resolved { since_ms, .. } => {
                Some(since_ms)
            }
        }
    }
}
