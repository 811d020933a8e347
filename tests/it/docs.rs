//! Documentation that lists things lists all of them.

use std::path::Path;

#[test]
fn every_metric_of_the_agent_stands_in_its_documentation_with_its_unit() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/agent.md");
    let text = std::fs::read_to_string(path).expect("docs/agent.md");
    for metric in agent::catalogue::ALL {
        let row = text
            .lines()
            .find(|line| line.starts_with(&format!("| `{}` |", metric.def.name)));
        let row = row.unwrap_or_else(|| panic!("docs/agent.md lacks {}", metric.def.name));
        assert!(
            row.contains(&format!("| `{}` |", metric.def.unit)),
            "{row} lacks the unit {:?}",
            metric.def.unit
        );
    }
}
