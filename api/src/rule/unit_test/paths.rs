//! Which rule files a test names: paths beside its own, with `*`, `?` and `[a-z]`.

use std::io;
use std::path::{Component, Path, PathBuf};

/// The files that `pattern` names, seen from `directory`, in order of their names.
pub(super) fn matching(directory: &Path, pattern: &str) -> io::Result<Vec<PathBuf>> {
    let whole = directory.join(pattern);
    let mut found = vec![PathBuf::new()];
    for component in whole.components() {
        let name = match component {
            Component::Normal(name) => name.to_string_lossy().into_owned(),
            fixed => {
                found.iter_mut().for_each(|path| path.push(fixed));
                continue;
            }
        };
        if !name.contains(['*', '?', '[', '\\']) {
            found.iter_mut().for_each(|path| path.push(&name));
            continue;
        }
        let mut deeper = Vec::new();
        for path in &found {
            let listed = if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                path
            };
            for entry in std::fs::read_dir(listed).into_iter().flatten() {
                let entry = entry?.file_name();
                if matches(&name, &entry.to_string_lossy()) {
                    deeper.push(path.join(entry));
                }
            }
        }
        deeper.sort();
        found = deeper;
    }
    found.retain(|path| path.exists());
    Ok(found)
}

/// Whether a name has the form of a pattern: `*` any text, `?` any character, `[a-z]` and `[^a-z]` one of a set, `\` as it is.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    step(&pattern, &name)
}

fn step(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', rest @ ..], _) => (0..=name.len()).any(|skipped| step(rest, &name[skipped..])),
        (['?', rest @ ..], [_, after @ ..]) => step(rest, after),
        (['[', rest @ ..], [c, after @ ..]) => match rest.iter().skip(1).position(|c| *c == ']') {
            Some(end) => set(&rest[..=end], *c) && step(&rest[end + 2..], after),
            None => false,
        },
        (['\\', wanted, rest @ ..], [c, after @ ..]) | ([wanted, rest @ ..], [c, after @ ..]) => {
            wanted == c && step(rest, after)
        }
        _ => false,
    }
}

fn set(members: &[char], c: char) -> bool {
    let (members, wanted) = match members {
        ['^', others @ ..] => (others, false),
        all => (all, true),
    };
    let mut rest = members;
    let mut found = false;
    loop {
        match rest {
            [first, '-', last, after @ ..] => {
                found |= (*first..=*last).contains(&c);
                rest = after;
            }
            [one, after @ ..] => {
                found |= *one == c;
                rest = after;
            }
            [] => return found == wanted,
        }
    }
}
#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_are_those_of_the_shell() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        };
        check("*.yml", "a.yml", true);
        check("*.yml", "a.yaml", false);
        check("a*b*c", "axxbyyc", true);
        check("a*b*c", "axxbyy", false);
        check("r?les", "rules", true);
        check("r?les", "rles", false);
        check("[a-c]x", "bx", true);
        check("[^a-c]x", "bx", false);
        check("[^a-c]x", "dx", true);
        check("[]x", "]x", false);
        check("\\*", "*", true);
        check("\\*", "a", false);
    }
}
