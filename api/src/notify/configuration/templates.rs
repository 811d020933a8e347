//! `templates`: the files that the patterns name, read and parsed.

use std::path::{Component, Path, PathBuf};

use crate::notify::wording::default_templates;
use crate::template::Templates;

/// Of one file.
const FILE_BYTES_MAX: u64 = 1 << 20;
const FILES_MAX: usize = 500;

/// Alertmanager's names with our bodies, and what the files define over them. A pattern without a file is warned of.
pub(super) fn read(patterns: &[String], dir: &Path, warnings: &mut Vec<String>) -> Result<Templates, String> {
    let mut templates = default_templates();
    for (at, pattern) in patterns.iter().enumerate() {
        let place = format!("templates[{at}]");
        let files = found(&dir.join(pattern)).map_err(|problem| format!("{place}: {problem}"))?;
        if files.is_empty() {
            warnings.push(format!("{place} is not used: there is no file {pattern}"));
        }
        for file in files {
            let shown = file.display();
            let unread = |error: std::io::Error| format!("{place}: cannot read {shown}: {error}");
            if std::fs::metadata(&file).map_err(unread)?.len() > FILE_BYTES_MAX {
                return Err(format!("{place}: {shown} is larger than {FILE_BYTES_MAX} bytes"));
            }
            let text = std::fs::read_to_string(&file).map_err(unread)?;
            templates
                .add(&shown.to_string(), &text)
                .map_err(|error| format!("{place}: {shown}, line {}: {error}", error.line))?;
        }
    }
    Ok(templates)
}

/// The files that a pattern names, sorted. In each part of a path `*` stands for any characters, `?` for one, `[a-z]` for one of
/// those.
fn found(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let mut places = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = match part {
            Component::Normal(name) => name.to_str().ok_or("the path is no UTF-8")?,
            other => {
                places.iter_mut().for_each(|place| place.push(other));
                continue;
            }
        };
        if !name.contains(['*', '?', '[', '\\']) {
            places.iter_mut().for_each(|place| place.push(name));
            continue;
        }
        let pattern: Vec<char> = name.chars().collect();
        check(&pattern)?;
        let mut next = Vec::new();
        for place in places {
            let here = if place.as_os_str().is_empty() {
                Path::new(".")
            } else {
                &place
            };
            // As Go: a folder that is not there, or not to be read, holds nothing.
            let Ok(entries) = std::fs::read_dir(here) else { continue };
            for entry in entries.flatten() {
                let entry = entry.file_name();
                let Some(entry) = entry.to_str() else { continue };
                if fits(&pattern, &entry.chars().collect::<Vec<_>>()) {
                    next.push(place.join(entry));
                }
            }
            if next.len() > FILES_MAX {
                return Err(format!("it names more than {FILES_MAX} files"));
            }
        }
        next.sort();
        places = next;
    }
    places.retain(|place| place.is_file());
    Ok(places)
}

fn check(pattern: &[char]) -> Result<(), String> {
    let mut rest = pattern;
    while let Some((first, after)) = rest.split_first() {
        rest = match first {
            '\\' if after.is_empty() => return Err("the pattern ends within an escape".to_owned()),
            '\\' => &after[1..],
            '[' => class(after, '\0')
                .map(|(_, rest)| rest)
                .ok_or("a [ in the pattern is not closed")?,
            _ => after,
        };
    }
    Ok(())
}

/// Whether `c` is in the class that begins behind `[`, and what comes after it.
fn class(pattern: &[char], c: char) -> Option<(bool, &[char])> {
    let (is_negated, mut rest) = match pattern {
        ['^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (mut is_in, mut count) = (false, 0);
    loop {
        rest = match rest {
            [']', after @ ..] if count > 0 => return Some((is_in != is_negated, after)),
            [low, '-', high, after @ ..] if *high != ']' => {
                is_in |= (*low..=*high).contains(&c);
                after
            }
            ['\\', one, after @ ..] | [one, after @ ..] => {
                is_in |= *one == c;
                after
            }
            [] => return None,
        };
        count += 1;
    }
}

/// Whether a name fits a pattern. Of the stars only the last one is tried again, so that no pattern takes long.
fn fits(pattern: &[char], name: &[char]) -> bool {
    let (mut pattern, mut name) = (pattern, name);
    let mut again: Option<(&[char], &[char])> = None;
    loop {
        let step = match (pattern, name) {
            ([], []) => return true,
            (['*', after @ ..], _) => {
                again = Some((after, name));
                Some((after, name))
            }
            (['?', after @ ..], [_, rest @ ..]) => Some((after, rest)),
            (['[', after @ ..], [c, rest @ ..]) => class(after, *c)
                .filter(|(is_in, _)| *is_in)
                .map(|(_, after)| (after, rest)),
            (['\\', one, after @ ..] | [one, after @ ..], [c, rest @ ..]) if one == c => Some((after, rest)),
            _ => None,
        };
        (pattern, name) = match (step, again) {
            (Some(next), _) => next,
            (None, Some((after, [_, rest @ ..]))) => {
                again = Some((after, rest));
                (after, rest)
            }
            (None, _) => return false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_a_shell() {
        for (pattern, name, expected) in [
            ("*.tmpl", "a.tmpl", true),
            ("*.tmpl", "a.tmpl~", false),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[]]x", "]x", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("ä*", "äöü", true),
        ] {
            let pattern: Vec<char> = pattern.chars().collect();
            let name: Vec<char> = name.chars().collect();
            assert_eq!(fits(&pattern, &name), expected, "{pattern:?} {name:?}");
        }
        let many: Vec<char> = "*a".repeat(50).chars().collect();
        assert!(!fits(&many, &['a'; 40]));
        for wrong in ["[a", "a\\"] {
            assert!(check(&wrong.chars().collect::<Vec<_>>()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn files_are_found_through_folders_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b/two.tmpl", "a/one.tmpl", "a/three.txt", "c/four.tmpl"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let names = |pattern: &str| -> Vec<String> {
            let found = found(&dir.path().join(pattern)).unwrap();
            let name = |path: &PathBuf| path.strip_prefix(dir.path()).unwrap().display().to_string();
            found.iter().map(name).collect()
        };
        assert_eq!(names("[ab]/*.tmpl"), ["a/one.tmpl", "b/two.tmpl"]);
        assert_eq!(names("c/four.tmpl"), ["c/four.tmpl"]);
        assert_eq!(names("nowhere/*.tmpl"), Vec::<String>::new());
        assert_eq!(names("a"), Vec::<String>::new(), "a folder is no file");
    }
}
