//! In which order the rules of a replay are evaluated, and which of them moment by moment.

use store::promql::selectors;

use crate::rule::file::{Group, Rule};
use crate::rule::made::Made;

/// Rules that are evaluated together; places in the list of all rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) rules: std::ops::Range<usize>,
    /// True where each moment needs what the one before yielded, or must not see what came after it. Else a stretch of time is
    /// evaluated at once, which gives the same and is much faster.
    pub(super) is_stepped: bool,
}

/// The blocks in order, and which rules' series are read by others.
pub(super) fn plan(rules: &[(&Group, &Rule)]) -> (Vec<Block>, Vec<bool>) {
    let made: Vec<Made> = rules.iter().map(|(_, rule)| Made::by([*rule])).collect();
    let mut is_read = vec![false; rules.len()];
    // The last rule that has to go in step with each one.
    let mut reach: Vec<usize> = (0..rules.len()).collect();
    let mut is_stepped = vec![false; rules.len()];
    for (at, (_, rule)) in rules.iter().enumerate() {
        is_stepped[at] = looks_ahead(&rule.expr);
        for matchers in selectors(&rule.expr).unwrap_or_default() {
            for (maker, _) in made.iter().enumerate().filter(|(_, made)| made.may_meet(&matchers)) {
                is_read[maker] = true;
                if maker >= at {
                    // It sees what comes after it in the order one moment later.
                    reach[at] = reach[at].max(maker);
                    is_stepped[at] = true;
                }
            }
        }
    }
    let mut blocks: Vec<Block> = Vec::new();
    let mut at = 0;
    while at < rules.len() {
        let (mut end, mut look) = (reach[at], at);
        while look <= end {
            end = end.max(reach[look]);
            look += 1;
        }
        blocks.push(Block {
            rules: at..end + 1,
            is_stepped: is_stepped[at..=end].contains(&true),
        });
        at = end + 1;
    }
    (blocks, is_read)
}

/// Whether an expression may look at samples after the moment for which it is evaluated: with `@` or a negative offset. A text
/// in quotes that looks so only makes it slower.
fn looks_ahead(expr: &str) -> bool {
    let lower = expr.to_ascii_lowercase();
    let negative_offset = || {
        let mut parts = lower.split("offset").skip(1);
        parts.any(|after| after.trim_start().starts_with(['-', '(']))
    };
    expr.contains('@') || negative_offset()
}

#[cfg(test)]
mod tests {
    use super::plan;
    use crate::rule::load;

    /// Blocks as `0 1-2* 3`, those in step with a star.
    fn check(rules: &str, expected: &str) {
        let groups = load(&format!("groups: [{{name: g, rules: [{rules}]}}]"), "test.yml").expect("rules");
        let all: Vec<_> = groups
            .iter()
            .flat_map(|group| group.rules.iter().map(move |rule| (group, rule)))
            .collect();
        let told = plan(&all).0.into_iter().map(|block| {
            let (first, last) = (block.rules.start, block.rules.end - 1);
            let places = if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            };
            format!("{places}{}", if block.is_stepped { "*" } else { "" })
        });
        assert_eq!(told.collect::<Vec<_>>().join(" "), expected, "{rules}");
    }

    #[test]
    fn rules_go_in_step_only_where_they_have_to() {
        check("{record: a, expr: x}, {record: b, expr: a}", "0 1");
        check("{record: a, expr: a + x}", "0*");
        check(
            "{record: a, expr: b}, {record: c, expr: x}, {record: b, expr: c}, {record: d, expr: b}",
            "0-2* 3",
        );
        check(
            "{alert: A, expr: 'ALERTS{alertname=\"A\"} or x'}, {alert: B, expr: x}",
            "0* 1",
        );
        check(
            "{alert: A, expr: 'x > 1'}, {alert: B, expr: 'ALERTS{alertname=\"A\"}'}",
            "0 1",
        );
        check("{alert: A, expr: 'ALERTS'}, {alert: B, expr: x}", "0-1*");
        check("{record: a, expr: '{__name__=~\"a|y\"}'}", "0*");
        check(
            "{record: a, expr: x offset -5m}, {record: b, expr: x offset 5m}, {record: c, expr: x @ 0}",
            "0* 1 2*",
        );
    }
}
