//! Which files a table's path means: a file, all files of a directory, or what a glob matches.
//!
//! Position: used by the file formats. Hidden files (`.x`, `_x`) are left out, as other engines do; the order is
//! that of the names, so that a table reads the same on every node.

use std::path::{Component, Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

/// The files that `path` means; at least one.
///
/// # Errors
/// 58P01 when there is none, 58030 when a directory cannot be read.
pub fn resolve(path: &str) -> Result<Vec<PathBuf>> {
    let path = path.strip_prefix("file://").unwrap_or(path);
    let mut files = if path.contains(['*', '?', '[']) {
        matching(Path::new(path))?
    } else {
        let path = Path::new(path);
        if path.is_dir() { list(path)?.into_iter().filter(|p| p.is_file()).collect() } else { vec![path.to_owned()] }
    };
    files.sort();
    match files.first() {
        Some(file) if file.is_file() => Ok(files),
        _ => Err(missing(path)),
    }
}

fn missing(path: &str) -> Error {
    Error::new(ErrorKind::Connector, "58P01", format!("no file matches \"{path}\"")).with_hint("give a file, a directory or a glob")
}

/// The entries of a directory that are not hidden.
fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let cannot = |error: std::io::Error| Error::connector(format!("cannot read directory \"{}\": {error}", directory.display()));
    let mut entries = vec![];
    for entry in std::fs::read_dir(directory).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        if !entry.file_name().to_string_lossy().starts_with(['.', '_']) {
            entries.push(entry.path());
        }
    }
    Ok(entries)
}

/// Walks the components of a glob: a plain one is entered, a pattern is matched against the directory's entries.
fn matching(glob: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::new()];
    for component in glob.components() {
        let name = component.as_os_str().to_string_lossy();
        let is_pattern = matches!(component, Component::Normal(_)) && name.contains(['*', '?', '[']);
        let mut next = vec![];
        for base in found {
            if !is_pattern {
                next.push(base.join(component));
            } else if base.as_os_str().is_empty() || base.is_dir() {
                let matches = |path: &PathBuf| path.file_name().is_some_and(|n| glob_matches(&name, &n.to_string_lossy()));
                next.extend(list(&base)?.into_iter().filter(matches));
            }
        }
        found = next;
    }
    found.retain(|path| path.is_file());
    Ok(found)
}

/// Whether `name` matches `pattern`: `*` any characters, `?` one, `[a-z]` one of a set, `[!a-z]` one outside it.
fn glob_matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // reachable[i]: the pattern so far matches the first i characters.
    let mut reachable = vec![false; name.len() + 1];
    reachable[0] = true;
    let mut position = 0;
    while position < pattern.len() {
        let mut next = vec![false; name.len() + 1];
        if pattern[position] == '*' {
            let mut seen = false;
            for (i, reached) in reachable.iter().enumerate() {
                seen |= reached;
                next[i] = seen;
            }
            position += 1;
        } else {
            let (matches, length) = one_character(&pattern[position..]);
            for i in 0..name.len() {
                next[i + 1] = reachable[i] && matches(name[i]);
            }
            position += length;
        }
        reachable = next;
    }
    reachable[name.len()]
}

/// What the first item of a pattern (not `*`) matches, and how many characters of the pattern it is.
fn one_character(pattern: &[char]) -> (Box<dyn Fn(char) -> bool>, usize) {
    let first = pattern[0];
    let closing = pattern.iter().skip(2).position(|c| *c == ']').map(|i| i + 2);
    match (first, closing) {
        ('?', _) => (Box::new(|_| true), 1),
        ('[', Some(closing)) => {
            let negated = pattern[1] == '!' || pattern[1] == '^';
            let set: Vec<char> = pattern[1 + usize::from(negated)..closing].to_vec();
            let contains = move |c: char| {
                let range = |w: &[char]| w.len() == 3 && w[1] == '-' && w[0] <= c && c <= w[2];
                (set.contains(&c) || set.windows(3).any(range)) != negated
            };
            (Box::new(contains), closing + 1)
        }
        _ => (Box::new(move |c| c == first), 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*.parquet", "a.parquet", true),
            ("*.parquet", "a.csv", false),
            ("part-?", "part-1", true),
            ("part-?", "part-12", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[", "[", true),
            ("*", "", true),
        ] {
            assert_eq!(glob_matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_path_is_a_file_a_directory_or_a_glob() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b.csv", "a.csv", "_hidden.csv", ".hidden.csv", "c.txt"] {
            std::fs::write(directory.path().join(name), "x").unwrap();
        }
        let names = |path: &str| -> Vec<String> {
            let path = directory.path().join(path);
            let files = resolve(path.to_str().unwrap()).unwrap();
            files.iter().map(|f| f.file_name().unwrap().to_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names("a.csv"), ["a.csv"]);
        assert_eq!(names(""), ["a.csv", "b.csv", "c.txt"]);
        assert_eq!(names("*.csv"), ["a.csv", "b.csv"]);
    }

    #[test]
    fn no_file_is_an_error_with_the_path() {
        let error = resolve("/no/such/file.parquet").unwrap_err();
        assert_eq!((error.sqlstate.0, error.message.as_str()), ("58P01", "no file matches \"/no/such/file.parquet\""));
    }
}
